"""Compiles one route at a time.

Werkzeug builds a syntax tree for each route, and LocalStack builds the routes of an API for each request. Some
releases of CPython (seen: 3.11.7) count the depth of such trees for all threads together. When the garbage collector
runs Python code during a conversion, and another thread converts a tree too, both fail with "AST constructor recursion depth mismatch"
(https://github.com/python/cpython/issues/106905). LocalStack then answers 500.
"""

import threading

from werkzeug.routing import Rule

_compile = Rule.compile
_one_at_a_time = threading.RLock()


def apply() -> None:
    """Puts the function below in the place of Werkzeug's."""
    Rule.compile = _compile_alone


def _compile_alone(self: Rule) -> None:
    with _one_at_a_time:
        _compile(self)
