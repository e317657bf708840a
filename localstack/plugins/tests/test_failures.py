"""Tests functions that hang, crash or don't start: errors are reported as by Lambda, and no process is left."""

import json
import time
import unittest
from pathlib import Path

from localstack.services.lambda_.invocation.executor_endpoint import StatusErrorException

from support import ExecutorTestCase, alive

# Prints the numbers of its process and of a child that would outlive it.
_WITH_CHILD = """
child = subprocess.Popen(["sleep", "60"])
print(os.getpid(), child.pid, flush=True)
"""
_HANG_ON_REQUEST = "serve(lambda event, _: time.sleep(60) if event == 'hang' else os.getpid())"


class Failures(ExecutorTestCase):
    def test_a_time_out_kills_the_process_and_is_reported_as_lambda_does(self) -> None:
        function = self.started(_WITH_CHILD + _HANG_ON_REQUEST, timeout=1)
        pids = self.printed_pids(function)
        self.assertTrue(all(map(alive, pids)))
        started = time.monotonic()
        error = self.error(function, "hang")
        self.assertTrue(1 <= time.monotonic() - started < 30)
        self.assertEqual(error["errorType"], "Sandbox.Timedout")
        self.assertEqual(
            error["errorMessage"], "RequestId: request-1 Error: Task timed out after 1.00 seconds"
        )
        self.assertFalse(any(map(alive, pids)))

    def test_after_a_time_out_a_fresh_process_serves(self) -> None:
        function = self.started(_HANG_ON_REQUEST, timeout=1)
        first = self.answer(function)
        self.error(function, "hang")
        second = self.answer(function)
        self.assertNotEqual(first, second)
        self.assertEqual(self.answer(function), second)

    def test_a_crash_is_reported_at_once_and_the_next_invocation_works(self) -> None:
        source = "serve(lambda event, _: (print('oh', flush=True), os._exit(3)) if event else 'fine')"
        function = self.started(source, timeout=30)
        started = time.monotonic()
        crash = self.invoke(function, "crash")
        self.assertLess(time.monotonic() - started, 5)
        self.assertTrue(crash.is_error)
        self.assertEqual(
            json.loads(crash.payload),
            {
                "errorType": "Runtime.ExitError",
                "errorMessage": "RequestId: request-1 Error: Runtime exited with error: exit status 3",
            },
        )
        self.assertIn("oh", crash.logs)
        self.assertEqual(self.answer(function, ""), "fine")

    def test_a_process_killed_from_outside_is_reported_with_its_signal(self) -> None:
        function = self.started("serve(lambda event, _: os.kill(os.getpid(), 9))", timeout=30)
        self.assertIn("signal: killed", self.error(function)["errorMessage"])

    def test_an_exit_before_the_first_request_is_reported_at_once_with_the_log(self) -> None:
        function = self.executor("print('no such table', flush=True)\nsys.exit(2)")
        error = self.init_error(function)
        self.assertEqual(error["errorType"], "Runtime.ExitError")
        self.assertIn("exit status 2", error["errorMessage"])
        self.assertIn("no such table", error["errorMessage"])

    def test_a_posted_init_error_is_reported_at_once_with_the_log(self) -> None:
        source = """
print("reading settings", flush=True)
call("POST", "init/error", json.dumps({"errorType": "Settings", "errorMessage": "TABLE isn't set"}))
time.sleep(60)
"""
        function = self.executor(source)
        error = self.init_error(function)
        self.assertEqual(error["errorType"], "Settings")
        self.assertIn("TABLE isn't set", error["errorMessage"])
        self.assertIn("reading settings", error["errorMessage"])

    def test_a_function_that_cannot_start_leaves_no_process(self) -> None:
        source = _WITH_CHILD + "call('POST', 'init/error', '{}')\ntime.sleep(60)"
        error = self.init_error(self.executor(source))
        pids = [int(word) for word in error["errorMessage"].split()[-2:]]
        self.assertFalse(any(map(alive, pids)), error)

    def test_a_package_without_bootstrap_is_reported(self) -> None:
        function = self.executor("")
        Path(function.function_version.config.code.get_unzipped_code_location(), "bootstrap").unlink()
        self.assertEqual(self.init_error(function)["errorType"], "Runtime.InvalidEntrypoint")

    def test_an_init_error_of_the_fresh_process_is_the_invocations_error(self) -> None:
        source = """
first = not os.path.exists("seen")
open("seen", "w").close()
if not first: sys.exit("second start refused")
serve(lambda event, _: os._exit(1))
"""
        function = self.started(source)
        self.error(function)
        self.enterContext(self.assertLogs("host_mode.executor", "ERROR"))
        self.assertIn("second start refused", self.error(function)["errorMessage"])

    def test_stopping_ends_the_process_with_its_children_and_removes_the_log(self) -> None:
        function = self.started(_WITH_CHILD + _HANG_ON_REQUEST)
        pids = self.printed_pids(function)
        self.assertTrue(function.log_file.exists())
        function.stop()
        self.assertFalse(any(map(alive, pids)))
        self.assertFalse(function.log_file.exists())

    def printed_pids(self, function: object) -> list[int]:
        return [int(word) for word in function.get_logs().split()]

    def init_error(self, function: object) -> dict[str, str]:
        started = time.monotonic()
        with (
            self.assertLogs("host_mode.executor", "ERROR"),
            self.assertRaises(StatusErrorException) as raised,
        ):
            function.start({})
        self.assertLess(time.monotonic() - started, 5)
        return json.loads(raised.exception.payload)


if __name__ == "__main__":
    unittest.main()
