"""One run of a function: its process and the Runtime API that the process talks to."""

import json
import signal
import threading
from collections.abc import Mapping
from pathlib import Path

from host_mode.process import FunctionProcess
from host_mode.runtime_api import Invocation, Outcome, RuntimeApi


class InitError(Exception):
    """The function didn't get as far as asking for its first invocation."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.payload.decode(errors="replace"))
        self.outcome = outcome


class Sandbox:
    """Runs a `bootstrap` until it exits or is ended; serves one invocation at a time.

    A sandbox that failed, timed out or was ended stays so: start another one. Threads of the Runtime API
    and of the process change its state; all of it is guarded by one condition.
    """

    def __init__(self, bootstrap: Path, environment: Mapping[str, str], log: Path) -> None:
        self._changed = threading.Condition()
        self._asked_for_work = False
        self._failure: Outcome | None = None
        self._queued: Invocation | None = None
        self._running: str | None = None
        self._outcome: Outcome | None = None
        self._api = RuntimeApi(self)
        try:
            self._process = FunctionProcess(
                bootstrap,
                {**environment, "AWS_LAMBDA_RUNTIME_API": self._api.address},
                log,
                self._exited,
            )
        except OSError as error:
            self._api.close()
            message = f"Couldn't execute the bootstrap: {error}"
            raise InitError(_error("Runtime.InvalidEntrypoint", message)) from error

    @property
    def pid(self) -> int:
        """The number of the function's process."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """Whether the process can take another invocation."""
        with self._changed:
            return self._failure is None

    def wait_until_ready(self, seconds: float) -> None:
        """Returns when the function asks for work; raises `InitError` as soon as it can't."""
        with self._changed:
            self._changed.wait_for(lambda: self._asked_for_work or self._failure, seconds)
            if self._failure is None and not self._asked_for_work:
                message = f"Initialization timed out after {seconds:.2f} seconds"
                self._failure = _error("Sandbox.Timedout", message)
            failure = self._failure
        if failure is not None:
            self.end()
            raise InitError(failure)

    def invoke(self, invocation: Invocation, seconds: float) -> Outcome:
        """Hands an invocation to the function and waits for its outcome, which may be its death.

        When time is up the process is killed, as Lambda does.
        """
        with self._changed:
            self._queued, self._running, self._outcome = invocation, invocation.request_id, None
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._outcome or self._failure, seconds)
            outcome = self._outcome
            if outcome is None:
                outcome = self._failure or _timed_out(seconds)
                outcome = _with_request_id(outcome, invocation.request_id)
                self._failure = self._failure or outcome
            self._queued = self._running = None
            usable = self._failure is None
        if not usable:
            self.end()
        return outcome

    def end(self) -> None:
        """Kills the process, if it still runs, and stops the Runtime API."""
        self._process.kill()
        self._api.close()

    def next_invocation(self) -> Invocation | None:
        """For the Runtime API: blocks until there is work; None at the end."""
        with self._changed:
            self._asked_for_work = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._queued or self._failure)
            invocation, self._queued = self._queued, None
            return None if self._failure else invocation

    def finish(self, request_id: str, outcome: Outcome) -> bool:
        """For the Runtime API: takes the outcome, unless it's late or for another invocation."""
        with self._changed:
            if self._failure or request_id != self._running:
                return False
            self._outcome, self._running = outcome, None
            self._changed.notify_all()
            return True

    def init_failed(self, error: bytes) -> None:
        """For the Runtime API: the function says that it can't start."""
        self._fail(Outcome(error, is_error=True))

    def _exited(self, status: int) -> None:
        self._fail(_error("Runtime.ExitError", _describe_exit(status)))

    def _fail(self, failure: Outcome) -> None:
        with self._changed:
            self._failure = self._failure or failure
            self._changed.notify_all()


def _error(kind: str, message: str) -> Outcome:
    document = {"errorType": kind, "errorMessage": message}
    return Outcome(json.dumps(document).encode(), is_error=True)


def _timed_out(seconds: float) -> Outcome:
    return _error("Sandbox.Timedout", f"Task timed out after {seconds:.2f} seconds")


def _describe_exit(status: int) -> str:
    if status == 0:
        return "Runtime exited without providing a reason"
    if status > 0:
        return f"Runtime exited with error: exit status {status}"
    name = signal.strsignal(-status) or str(-status)
    return f"Runtime exited with error: signal: {name.lower()}"


def _with_request_id(outcome: Outcome, request_id: str) -> Outcome:
    """Puts the message in the form that Lambda gives errors of a running invocation."""
    try:
        document = json.loads(outcome.payload)
        message = document["errorMessage"]
    except (ValueError, TypeError, KeyError):
        return outcome
    document["errorMessage"] = f"RequestId: {request_id} Error: {message}"
    return Outcome(json.dumps(document).encode(), is_error=True)
