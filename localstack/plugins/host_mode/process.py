"""A function's operating-system process."""

import functools
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from host_mode.reaper import Reaper, kill_group


@functools.cache
def _reaper() -> Reaper:
    return Reaper()


class FunctionProcess:
    """A running `bootstrap`, in a process group of its own, whose output goes to a file.

    `on_exit` is called once, from another thread, with the exit status (negative: the signal), after
    everything that the process had started is gone too.
    """

    def __init__(
        self,
        program: Path,
        environment: Mapping[str, str],
        log: Path,
        on_exit: Callable[[int], None],
    ) -> None:
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [str(program)],
                cwd=program.parent,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _reaper().started(self.pid)
        self._on_exit = on_exit
        self._watcher = threading.Thread(target=self._watch, name=f"watch-{self.pid}", daemon=True)
        self._watcher.start()

    @property
    def pid(self) -> int:
        """The number of the process and of its group."""
        return self._popen.pid

    def kill(self) -> None:
        """Kills the process and all that it started, and waits until `on_exit` has run.

        At once, without SIGTERM first: so does Lambda with a function that has no extensions.
        """
        if self._watcher.is_alive():
            kill_group(self.pid)
            self._watcher.join()

    def _watch(self) -> None:
        status = self._popen.wait()
        kill_group(self.pid)
        _reaper().ended(self.pid)
        self._on_exit(status)
