"""LocalStack's `native` Lambda executor: functions run as processes of this machine.

LocalStack's own executor needs a Docker engine. This one serves `provided.*` runtimes, whose deployment
package contains a program named `bootstrap`. There's no isolation: functions see the host's file system,
and their memory isn't limited. Layers aren't supported.
"""

import json
import logging
import os
import tempfile
import time
from pathlib import Path

from localstack.services.lambda_.invocation.executor_endpoint import StatusErrorException
from localstack.services.lambda_.invocation.lambda_models import FunctionVersion, InvocationResult
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor

from host_mode.runtime_api import Invocation, Outcome
from host_mode.sandbox import InitError, Sandbox

LOG = logging.getLogger(__name__)

# Lambda's own limit.
INIT_SECONDS = 10.0
# Bytes of the log in an init error; as many as Lambda returns with `LogType=Tail`.
_LOG_TAIL = 4096


class NativeExecutor(RuntimeExecutor):
    """An execution environment: a sandbox, replaced by a fresh one when it timed out or crashed."""

    def __init__(self, id: str, function_version: FunctionVersion) -> None:
        super().__init__(id, function_version)
        self._environment: dict[str, str] = {}
        self._sandbox: Sandbox | None = None
        self._stopped = False
        descriptor, name = tempfile.mkstemp(prefix="lambda-", suffix=".log")
        os.close(descriptor)
        self.log_file = Path(name)
        self._logged = 0

    def start(self, env_vars: dict[str, str]) -> None:
        """Starts the function; if it can't start, the caller gets an error of the function."""
        code = self._code()
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "TMPDIR": tempfile.gettempdir(),
            **{name: str(value) for name, value in env_vars.items()},
            "LAMBDA_TASK_ROOT": str(code),
            "LAMBDA_RUNTIME_DIR": str(code),
        }
        try:
            self._start_sandbox()
        except InitError as error:
            raise StatusErrorException(f"init error: {error}", payload=error.outcome.payload) from error

    def stop(self) -> None:
        """Ends the function's process and removes its log."""
        self._stopped = True
        if self._sandbox is not None:
            self._sandbox.end()
        self.log_file.unlink(missing_ok=True)

    def invoke(self, payload: dict[str, str]) -> InvocationResult:
        """Runs one invocation; a crash and a time-out are outcomes too, and cost only the process."""
        timeout = int(self.function_version.config.timeout)
        invocation = Invocation(
            request_id=payload["invoke-id"],
            function_arn=payload.get("invoked-function-arn", ""),
            trace_id=payload.get("trace-id") or "",
            payload=payload["payload"].encode(),
            deadline_ms=int((time.time() + timeout) * 1000),
        )
        started = time.monotonic()
        try:
            outcome = self._usable_sandbox().invoke(invocation, timeout)
        except InitError as error:
            outcome = error.outcome
        return InvocationResult(
            request_id=invocation.request_id,
            payload=outcome.payload,
            is_error=outcome.is_error,
            logs=self._invocation_log(invocation.request_id, time.monotonic() - started),
        )

    def get_logs(self) -> str:
        """All that the function's processes have printed."""
        return self._read_log().decode(errors="replace")

    def get_address(self) -> str:
        """Where the emulator reaches the function."""
        return "127.0.0.1"

    def get_endpoint_from_executor(self) -> str:
        """Where the function reaches the emulator: LocalStack makes `AWS_ENDPOINT_URL` of it."""
        return "127.0.0.1"

    def get_runtime_endpoint(self) -> str:
        """An address for the program inside LocalStack's containers; there's none here."""
        return f"http://127.0.0.1/_unused/{self.id}"

    @classmethod
    def prepare_version(cls, function_version: FunctionVersion) -> None:
        """Unpacks the deployment package."""
        function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version: FunctionVersion) -> None:
        """Nothing: LocalStack itself removes the unpacked code with the function."""

    def _code(self) -> Path:
        return Path(self.function_version.config.code.get_unzipped_code_location())

    def _usable_sandbox(self) -> Sandbox:
        if self._sandbox is None or not self._sandbox.usable:
            return self._start_sandbox()
        return self._sandbox

    def _start_sandbox(self) -> Sandbox:
        if self._sandbox is not None:
            self._sandbox.end()
        try:
            self._sandbox = Sandbox(self._code() / "bootstrap", self._environment, self.log_file)
            if self._stopped:
                self._sandbox.end()
            self._sandbox.wait_until_ready(INIT_SECONDS)
        except InitError as error:
            logs = self.get_logs()
            LOG.error("Function %s can't start: %s\n%s", self.function_version.id, error, logs)
            raise InitError(_with_log(error.outcome, logs)) from error
        return self._sandbox

    def _read_log(self, start: int = 0) -> bytes:
        try:
            with self.log_file.open("rb") as log:
                log.seek(start)
                return log.read()
        except FileNotFoundError:  # `stop` came meanwhile.
            return b""

    def _invocation_log(self, request_id: str, seconds: float) -> str:
        """What was printed since the last time, between the lines that Lambda adds.

        Never empty: LocalStack warns of an invocation that has no log.
        """
        fresh = self._read_log(self._logged)
        self._logged += len(fresh)
        printed = fresh.decode(errors="replace")
        if printed and not printed.endswith("\n"):
            printed += "\n"
        version = self.function_version.id.qualifier
        return (
            f"START RequestId: {request_id} Version: {version}\n{printed}"
            f"END RequestId: {request_id}\nREPORT RequestId: {request_id}\tDuration: {seconds * 1000:.2f} ms\n"
        )


class NativeExecutorPlugin(RuntimeExecutorPlugin):
    """Makes the executor known as `LAMBDA_RUNTIME_EXECUTOR=native`."""

    name = "native"

    def load(self, *args: object, **kwargs: object) -> type[RuntimeExecutor]:
        """Called by LocalStack when it first needs an executor."""
        return NativeExecutor


def _with_log(outcome: Outcome, logs: str) -> Outcome:
    """Adds the end of the log: LocalStack keeps none for a function that didn't start."""
    try:
        document = json.loads(outcome.payload)
        message = document["errorMessage"]
    except (ValueError, TypeError, KeyError):
        document = {"errorType": "Runtime.InitError"}
        message = outcome.payload.decode(errors="replace")
    document["errorMessage"] = f"{message}\n{logs[-_LOG_TAIL:]}".strip()
    return Outcome(json.dumps(document).encode(), is_error=True)
