"""Ends the function processes that an emulator leaves behind when it is killed.

Functions run in process groups of their own, so that a timed-out one can be ended with everything it
started. A signal to the emulator's group therefore doesn't reach them, and an emulator ended by SIGKILL
can't end them itself. This process can: it holds the reading end of a pipe that closes when the emulator
is gone, whatever the cause.

It stays in the emulator's process group and ignores the signals that ask the group to stop: whoever
waits until the group is empty has then waited for the functions too.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO

_STARTED = "+"
_ENDED = "-"
# A killed process is gone within milliseconds, unless nothing collects its exit status.
_WAIT_SECONDS = 2.0


def kill_group(group: int) -> None:
    """Kills every process of a group; none left is fine (macOS refuses with EPERM if all are zombies)."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


class Reaper:
    """The emulator's side: tells the reaper process which groups are alive."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lock = threading.Lock()
        # Until it says so, it doesn't ignore signals yet.
        with self._pipe(self._process.stdout) as output:
            output.readline()

    def started(self, group: int) -> None:
        """From now on, `group` is killed when this process is gone."""
        self._tell(_STARTED, group)

    def ended(self, group: int) -> None:
        """`group` is empty; its number may be given to a process that isn't ours."""
        self._tell(_ENDED, group)

    def _tell(self, event: str, group: int) -> None:
        with self._lock:
            pipe = self._pipe(self._process.stdin)
            pipe.write(f"{event}{group}\n")
            pipe.flush()

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        if pipe is None:
            raise RuntimeError("the reaper was started without a pipe")
        return pipe


def follow(lines: Iterable[str]) -> set[int]:
    """Reads what the emulator tells until it is gone; returns the groups it left alive."""
    alive: set[int] = set()
    for line in lines:
        event, group = line[0], int(line[1:])
        if event == _STARTED:
            alive.add(group)
        else:
            alive.discard(group)
    return alive


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def main() -> None:
    """Waits for the emulator's end, then kills what it left."""
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    print("ready", flush=True)
    groups = follow(sys.stdin)
    for group in groups:
        kill_group(group)
    deadline = time.monotonic() + _WAIT_SECONDS
    while any(map(_exists, groups)) and time.monotonic() < deadline:
        time.sleep(0.005)


if __name__ == "__main__":
    main()
