"""The Lambda Runtime API: the HTTP server that a function's `bootstrap` fetches invocations from.

See https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import http
import json
import socketserver
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

_PREFIX = "/2018-06-01/runtime/"


@dataclass(frozen=True)
class Invocation:
    """One event for a function."""

    request_id: str
    function_arn: str
    trace_id: str
    payload: bytes
    deadline_ms: int


@dataclass(frozen=True)
class Outcome:
    """What an invocation came to: the handler's answer or an error document."""

    payload: bytes
    is_error: bool = False


class Runtime(Protocol):
    """What the server needs to know about the function it serves."""

    def next_invocation(self) -> Invocation | None:
        """Blocks until there is an invocation; None if the function was ended meanwhile."""

    def finish(self, request_id: str, outcome: Outcome) -> bool:
        """Takes the outcome of the running invocation; False if `request_id` isn't it."""

    def init_failed(self, error: bytes) -> None:
        """Takes the error document of a function that can't start."""


class RuntimeApi:
    """Serves the API to one process on a free port of the loopback interface."""

    def __init__(self, runtime: Runtime) -> None:
        self._server = _Server(runtime)
        self._thread = threading.Thread(
            # The interval bounds how long `close` waits.
            target=lambda: self._server.serve_forever(poll_interval=0.05),
            name=f"runtime-api-{self._server.server_port}",
            daemon=True,
        )
        self._thread.start()

    @property
    def address(self) -> str:
        """The value for `AWS_LAMBDA_RUNTIME_API`."""
        return f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.runtime = runtime

    def server_bind(self) -> None:
        # HTTPServer's own looks the address up in DNS, which may take seconds and is of no use here.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A process that is killed breaks its connection off: nothing to report.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    # A response is one write, sent at once: otherwise Nagle's algorithm adds 40 ms to an invocation.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path != f"{_PREFIX}invocation/next":
            self._answer(http.HTTPStatus.NOT_FOUND)
            return
        invocation = self.server.runtime.next_invocation()
        if invocation is None:
            self.close_connection = True
            self._answer(http.HTTPStatus.GONE)
            return
        self._answer(http.HTTPStatus.OK, invocation.payload, _headers(invocation))

    def do_POST(self) -> None:
        body = self._body()
        match self.path.removeprefix(_PREFIX).split("/"):
            case ["invocation", request_id, "response" | "error" as kind]:
                outcome = Outcome(body, is_error=kind == "error")
                accepted = self.server.runtime.finish(request_id, outcome)
            case ["init", "error"]:
                self.server.runtime.init_failed(body)
                accepted = True
            case _:
                self._answer(http.HTTPStatus.NOT_FOUND)
                return
        if accepted:
            self._answer(http.HTTPStatus.ACCEPTED, json.dumps({"status": "OK"}).encode())
        else:
            refusal = {"errorType": "InvalidRequestID", "errorMessage": "Invalid request ID"}
            self._answer(http.HTTPStatus.BAD_REQUEST, json.dumps(refusal).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: each invocation would leave two lines in the emulator's log."""

    def _answer(
        self, status: http.HTTPStatus, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._chunked_body()
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def _chunked_body(self) -> bytes:
        """Runtimes send a streamed response in chunks; an error after the start comes as a trailer."""
        body = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return bytes(body)


def _headers(invocation: Invocation) -> dict[str, str]:
    return {
        "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
        "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
        "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
        "Lambda-Runtime-Trace-Id": invocation.trace_id,
    }
