"""Whole processes: how long one took, and how much memory it had at its peak.

The process that starts them imports little, because a new
process's peak begins at its parent's size.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(sys.executable).parent / "rostersync"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a process ended: wall and processor seconds, peak memory in MB, exit code, output."""

    seconds: float
    cpu: float
    peak_mb: float
    code: int
    out: str

    @property
    def document(self) -> Any:
        """The JSON that it printed."""
        return json.loads(self.out)


def run(
    command: Sequence[str | Path],
    environment: Mapping[str, str] | None = None,
    *,
    codes: Sequence[int] = (0,),
    discard: bool = False,
) -> Ran:
    """Run a command to its end. ``SystemExit`` if its exit code is not one of ``codes``.

    ``discard`` lets its output go to /dev/null, where nobody has to keep it.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.DEVNULL if discard else out,
            stderr=err, cwd=ROOT, env={**os.environ, **(environment or {})},
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode not in codes:
            words = " ".join(str(word) for word in command)
            raise SystemExit(f"{words}\nended with {process.returncode}:\n{err.read()}{out.read()}")
        scale = 1024 if sys.platform != "darwin" else 1024 * 1024
        cpu = usage.ru_utime + usage.ru_stime
        return Ran(seconds, cpu, usage.ru_maxrss / scale, process.returncode, out.read())


def script(name: str, *arguments: str | float | Path) -> list[str]:
    """Return the command that runs a module of this folder."""
    return [sys.executable, "-m", f"bench.{name}", *map(str, arguments)]


class Companion:
    """A process that serves while others are measured.

    It prints one line of JSON when it is ready (``ready``), and ends when its input is closed.
    """

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
        )
        self.ready: Any = self._line()

    def _line(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("A process that should serve has ended; what it said stands above.")
        return json.loads(line)

    def ask(self, line: str) -> Any:
        """Send one line and return the JSON of its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._line()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(300)
