"""Tests that threads build routes at the same time."""

import gc
import sys
import threading
import unittest

import support  # noqa: F401
from werkzeug.routing import Map, Rule

from host_mode import routing


class _Cycle:
    """Garbage whose collection runs Python code, so that another thread may go on meanwhile."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        for _ in range(20):
            pass


class Routes(unittest.TestCase):
    def setUp(self) -> None:
        self.addCleanup(setattr, Rule, "compile", Rule.compile)
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        sys.setswitchinterval(1e-6)
        gc.set_threshold(50)
        routing.apply()

    def test_threads_at_different_depths_compile_routes_without_an_error(self) -> None:
        failures: list[SystemError] = []

        def build(depth: int) -> None:
            if depth:
                return build(depth - 1)
            for number in range(300):
                _Cycle()
                try:
                    Map([Rule(f"/<stage>/<path>/{number}")])
                except SystemError as error:
                    failures.append(error)

        threads = [threading.Thread(target=build, args=(depth,)) for depth in (0, 10, 20, 30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])


if __name__ == "__main__":
    unittest.main()
