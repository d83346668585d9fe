"""The pages' own commands, run as a reader would run them, in order and in one folder.

- ``$ command`` in a ``console`` block is run; the lines under it are what it must print. ``...``
  alone stands for any lines, ``…`` inside a line for any text. ``(exit code 10)`` is the code to
  end with; without it the command must end with 0. Times and user ids may differ, but a time in UTC
  is none on a district's own clock.
- A ``toml`` block under ``<!-- file: NAME -->`` is saved as that file.
- A ``cron`` block's command is run, in the folder of the page instead of the one it names.
- ``make TARGET`` in an ``sh`` block must be a target of the Makefile.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

from rostersync.cli.app import run

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(
    r"(?:^<!-- file: (?P<file>\S+) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
_MOVING = (
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\dZ| UTC)"), "<time in UTC>"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d( [A-Z]{2,4}| [+-]\d\d)"), "<time>"),
    (re.compile(r"\bu[a-z2-7]{16}\b"), "<user>"),
)
_EXIT = re.compile(r"\(exit code (\d+)\)")
_SHELL = re.compile(r"[|<>;&]")


class Block(NamedTuple):
    """One fenced block of a page."""

    kind: str
    text: str
    file: str | None
    line: int


class Step(NamedTuple):
    """One command of a console block, and what it must come to."""

    command: str
    expected: list[str]
    code: int
    line: int


def blocks(page: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page, in order."""
    for found in _FENCE.finditer(page):
        line = page.count("\n", 0, found.start("text")) + 1
        yield Block(found["kind"], found["text"], found["file"], line)


def steps(block: Block) -> Iterator[Step]:
    """Yield the commands of a console block with what they must print."""
    commands = re.split(r"^\$ ", block.text, flags=re.M)
    line = block.line + commands[0].count("\n")
    for one in commands[1:]:
        command, *printed = one.rstrip("\n").split("\n")
        code = 0
        if printed and (found := _EXIT.fullmatch(printed[-1])):
            code = int(found[1])
            printed.pop()
        yield Step(command, [text for text in printed if text.strip()], code, line)
        line += one.count("\n")


def _still(line: str) -> str:
    for pattern, word in _MOVING:
        line = pattern.sub(word, line)
    return line.rstrip()


def _fits(expected: str, line: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in _still(expected).split("…"))
    return re.fullmatch(pattern, _still(line)) is not None


def prints(expected: list[str], output: str) -> bool:
    """Say whether an output is as a page shows it."""
    lines = [line for line in output.splitlines() if line.strip()]
    at, free = 0, False
    for wanted in expected:
        if wanted.strip() == "...":
            free = True
            continue
        while free and at < len(lines) and not _fits(wanted, lines[at]):
            at += 1
        if at == len(lines) or not _fits(wanted, lines[at]):
            return False
        at, free = at + 1, False
    return free or at == len(lines)


class Reader:
    """Follows a page in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands = 0

    def follow(self, page: Path) -> None:
        """Do everything a page says; fail at the first command that comes to something else."""
        for block in blocks(page.read_text(encoding="utf-8")):
            self.read(page, block)

    def read(self, page: Path, block: Block) -> None:
        """Do what one block of a page says."""
        if block.file is not None:
            (self.folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.kind == "console":
            for step in steps(block):
                self._check(page, step)
        elif block.kind == "cron":
            for line in block.text.splitlines():
                command = re.sub(r"cd \S+", "cd .", line.split(None, 5)[5])
                self._check(page, Step(command, ["..."], 0, block.line))
        elif block.kind == "sh":
            self._targets(block)

    def do(self, command: str) -> str:
        """Do what a page takes for granted; return what is printed."""
        code, output = self._run(command)
        assert code == 0, output
        return output

    def _check(self, page: Path, step: Step) -> None:
        code, output = self._run(step.command)
        self.commands += 1
        place = f"{page.name}, line {step.line}: $ {step.command}"
        assert code == step.code, f"{place}\nended with {code}, not {step.code}:\n{output}"
        if not prints(step.expected, output):
            pytest.fail(f"{place}\nprinted something else:\n{output}")

    def _run(self, command: str) -> tuple[int, str]:
        if command.startswith("rostersync ") and not _SHELL.search(command):
            printed = io.StringIO()  # both streams in one, as on a terminal
            with redirect_stdout(printed), redirect_stderr(printed):
                code = run(shlex.split(command)[1:])
            return code, printed.getvalue()
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def _targets(self, block: Block) -> None:
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for target in re.findall(r"^make ([a-z-]+)", block.text, re.M):
            assert re.search(rf"^{target}:", makefile, re.M), f"there is no make {target}"
