"""The command line, called in this process: exit code, stdout and stderr of each call."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from core.database import Database
from rostersync.cli.app import run


class Called(NamedTuple):
    """What one call came to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


Cli = Callable[..., Called]


@pytest.fixture
def cli(database: Database, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Return a function that runs the command line on the test's database."""
    url = database.url.render_as_string(hide_password=False)

    def call(*arguments: str) -> Called:
        capsys.readouterr()
        code = run([*arguments, "--database", url])
        return Called(code, *capsys.readouterr())

    return call
