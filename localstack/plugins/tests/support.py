"""Helpers of the tests: functions written in Python, and stand-ins for the parts of LocalStack that an executor uses."""

import json
import sys
import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# The sources beside the tests, rather than the copy installed in the environment.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from localstack.services.lambda_.invocation.lambda_models import InvocationResult

from host_mode.executor import NativeExecutor

# A Lambda runtime: `serve(handler)` does what the runtime library of a real function does.
_RUNTIME = '''
import http.client, json, os, subprocess, sys, time

API = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])


def call(method, path, body=None, **options):
    API.request(method, "/2018-06-01/runtime/" + path, body, **options)
    response = API.getresponse()
    return response.status, response.headers, response.read()


def serve(handler, **options):
    while True:
        status, headers, event = call("GET", "invocation/next")
        identity = "invocation/" + headers["Lambda-Runtime-Aws-Request-Id"]
        try:
            answer = json.dumps(handler(json.loads(event), headers)).encode()
            call("POST", identity + "/response", answer)
        except Exception as error:
            document = {"errorType": type(error).__name__, "errorMessage": str(error)}
            call("POST", identity + "/error", json.dumps(document))
'''


def write_function(folder: Path, source: str) -> None:
    """Writes a deployment package whose `bootstrap` is `source`, with the names of `_RUNTIME`."""
    (folder / "runtime.py").write_text(_RUNTIME)
    bootstrap = folder / "bootstrap"
    bootstrap.write_text(f"#!{sys.executable}\nfrom runtime import *\n{source}\n")
    bootstrap.chmod(0o755)


def function_version(folder: Path, timeout: int) -> Any:
    """What the executor reads of LocalStack's description of a function."""
    code = SimpleNamespace(get_unzipped_code_location=lambda: folder)
    return SimpleNamespace(
        id=SimpleNamespace(function_name="fake", qualifier="$LATEST"),
        config=SimpleNamespace(code=code, timeout=timeout),
    )


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended but wasn't waited for doesn't."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def becomes_true(condition: Callable[[], bool], seconds: float = 5) -> bool:
    """Waits for what another process brings about."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class ExecutorTestCase(unittest.TestCase):
    """Starts executors and ends them with the test."""

    def setUp(self) -> None:
        self._invocations = 0

    def executor(self, source: str, timeout: int = 5) -> NativeExecutor:
        """An executor for a function, not started."""
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        write_function(folder, source)
        executor = NativeExecutor("environment", function_version(folder, timeout))
        self.addCleanup(executor.stop)
        return executor

    def started(self, source: str, timeout: int = 5) -> NativeExecutor:
        """An executor whose function waits for work."""
        executor = self.executor(source, timeout)
        executor.start({})
        return executor

    def invoke(self, executor: NativeExecutor, event: object = None) -> InvocationResult:
        """Invokes the function with a fresh request id."""
        self._invocations += 1
        request_id = f"request-{self._invocations}"
        return executor.invoke({"invoke-id": request_id, "payload": json.dumps(event)})

    def answer(self, executor: NativeExecutor, event: object = None) -> Any:
        """The function's answer; an error fails the test."""
        result = self.invoke(executor, event)
        self.assertFalse(result.is_error, result.payload)
        return json.loads(result.payload)

    def error(self, executor: NativeExecutor, event: object = None) -> dict[str, str]:
        """The error document of an invocation that must fail."""
        result = self.invoke(executor, event)
        self.assertTrue(result.is_error, result.payload)
        return json.loads(result.payload)
