"""Tests the input and output of invocations that succeed or whose handler fails."""

import json
import time
import unittest

from support import ExecutorTestCase


class Invocations(ExecutorTestCase):
    def test_the_handler_gets_the_event_and_its_answer_comes_back(self) -> None:
        function = self.started("serve(lambda event, _: {'got': event})")
        self.assertEqual(self.answer(function, {"name": "æ"}), {"got": {"name": "æ"}})

    def test_two_invocations_reuse_one_process(self) -> None:
        function = self.started("serve(lambda event, _: os.getpid())")
        self.assertEqual(self.answer(function), self.answer(function))

    def test_the_handler_is_told_who_called_and_until_when(self) -> None:
        function = self.started("serve(lambda event, headers: dict(headers))", timeout=7)
        payload = {
            "invoke-id": "id",
            "payload": "{}",
            "invoked-function-arn": "arn:f",
            "trace-id": "Root=1",
        }
        headers = json.loads(function.invoke(payload).payload)
        self.assertEqual(headers["Lambda-Runtime-Aws-Request-Id"], "id")
        self.assertEqual(headers["Lambda-Runtime-Invoked-Function-Arn"], "arn:f")
        self.assertEqual(headers["Lambda-Runtime-Trace-Id"], "Root=1")
        left = int(headers["Lambda-Runtime-Deadline-Ms"]) / 1000 - time.time()
        self.assertTrue(5 < left <= 7, left)

    def test_the_function_sees_its_environment_and_not_the_emulators(self) -> None:
        function = self.executor("serve(lambda event, _: dict(os.environ))")
        function.start({"AWS_LAMBDA_FUNCTION_TIMEOUT": 3, "MINE": "yes"})
        environment = self.answer(function)
        self.assertEqual(environment["AWS_LAMBDA_FUNCTION_TIMEOUT"], "3")
        self.assertEqual(environment["MINE"], "yes")
        self.assertNotIn("HOME", environment)

    def test_an_error_of_the_handler_is_reported_and_the_process_lives_on(self) -> None:
        function = self.started("serve(lambda event, _: os.getpid() if event else 1 / 0)")
        first = self.answer(function, "ok")
        error = self.error(function, "")
        self.assertEqual(error, {"errorType": "ZeroDivisionError", "errorMessage": "division by zero"})
        self.assertEqual(self.answer(function, "ok"), first)

    def test_a_response_sent_in_chunks_is_put_together(self) -> None:
        source = """
        _, headers, _ = call("GET", "invocation/next")
        parts = iter([b'"a', b'b', b'c"'])
        path = "invocation/" + headers["Lambda-Runtime-Aws-Request-Id"] + "/response"
        call("POST", path, parts, headers={"Transfer-Encoding": "chunked"}, encode_chunked=True)
        serve(lambda event, _: "next")
        """
        function = self.started(_unindented(source))
        self.assertEqual(self.answer(function), "abc")
        self.assertEqual(self.answer(function), "next")

    def test_an_answer_to_another_request_is_refused(self) -> None:
        source = """
        _, headers, _ = call("GET", "invocation/next")
        status, _, _ = call("POST", "invocation/somebody-else/response", b'"wrong"')
        path = "invocation/" + headers["Lambda-Runtime-Aws-Request-Id"] + "/response"
        call("POST", path, str(status).encode())
        serve(lambda event, _: None)
        """
        self.assertEqual(self.answer(self.started(_unindented(source))), 400)

    def test_an_invocation_has_a_log_of_its_own(self) -> None:
        function = self.started("print('init', flush=True)\nserve(lambda event, _: print(event, flush=True))")
        first, second = self.invoke(function, "one"), self.invoke(function, "two")
        self.assertEqual(first.logs.splitlines()[0], "START RequestId: request-1 Version: $LATEST")
        self.assertEqual(first.logs.splitlines()[1:3], ["init", "one"])
        self.assertNotIn("one", second.logs)
        self.assertIn("two", second.logs)

    def test_invocations_take_milliseconds(self) -> None:
        function = self.started("serve(lambda event, _: None)")
        self.answer(function)
        fastest = 60.0
        for _ in range(20):
            started = time.monotonic()
            self.answer(function)
            fastest = min(fastest, time.monotonic() - started)
        # Nagle's algorithm, if it were on, would take 40 ms of each.
        self.assertLess(fastest, 0.02)


def _unindented(source: str) -> str:
    return "\n".join(line.strip() for line in source.splitlines())


if __name__ == "__main__":
    unittest.main()
