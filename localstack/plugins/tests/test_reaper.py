"""Tests that functions end when the emulator is killed."""

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

import support
from support import alive, becomes_true

_EMULATOR = """
import sys, time
sys.path[:0] = {path!r}
from pathlib import Path
from host_mode.process import FunctionProcess
function = FunctionProcess(Path({program!r}), {{}}, Path({log!r}), print)
print(function.pid, flush=True)
time.sleep(60)
"""


class Reaping(unittest.TestCase):
    def start(self) -> tuple[subprocess.Popen[str], int, int]:
        """Starts a process with a function and the function's child, and waits for all of them."""
        folder = self.enterContext(tempfile.TemporaryDirectory())
        program, log = Path(folder, "bootstrap"), Path(folder, "log")
        program.write_text("#!/bin/sh\nsleep 60 &\necho $!\nwait\n")
        program.chmod(0o755)
        script = _EMULATOR.format(path=sys.path, program=str(program), log=str(log))
        emulator = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.addCleanup(emulator.stdout.close)
        self.addCleanup(emulator.wait)
        self.addCleanup(lambda: emulator.poll() is None and os.killpg(emulator.pid, signal.SIGKILL))
        function = int(emulator.stdout.readline())
        self.assertTrue(becomes_true(lambda: log.exists() and log.read_text().endswith("\n")))
        child = int(log.read_text())
        self.assertTrue(alive(function) and alive(child))
        return emulator, function, child

    def test_functions_end_when_the_emulator_is_killed(self) -> None:
        emulator, function, child = self.start()
        emulator.kill()
        self.assertTrue(becomes_true(lambda: not alive(function) and not alive(child)))

    def test_functions_are_gone_once_the_emulators_group_is(self) -> None:
        emulator, function, child = self.start()
        os.killpg(emulator.pid, signal.SIGTERM)
        emulator.wait()
        self.assertTrue(becomes_true(lambda: not _group_exists(emulator.pid)))
        self.assertFalse(alive(function) or alive(child))


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    unittest.main()
