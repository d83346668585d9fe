"""Steps: what the program did, told to the log for somebody who is looking for a fault.

Used by every room: ``log = log_of(__name__)`` gives the room's logger, and ``step`` logs one step
of the work when it ends, with counts, ids and milliseconds. A step can hold no name, no address and
no secret: its facts are numbers, or text under one of the names in ``TEXTS``, which only the
program or the district file can choose. ``--verbose`` shows the steps; nothing else does.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

ROOT = "rostersync"
"""The logger above those of all rooms."""

TEXTS = frozenset(
    {
        "collection", "command", "connector", "district", "error", "outcome", "plan", "problem",
        "run", "source", "store", "stream", "upload",
    }
)  # fmt: skip
"""The facts that may be text: words of the program, names out of the district file, ids."""

Fact = int | float | bool | str | None

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,79}")
_LEFT_OUT = "(left out)"


class Step:
    """One step under way. What is counted while it lasts is added by ``tell``."""

    __slots__ = ("facts",)

    def __init__(self, facts: dict[str, Fact]) -> None:
        self.facts = facts

    def tell(self, **facts: Fact) -> None:
        """Add facts to the line that is logged when the step ends."""
        self.facts.update(facts)


def log_of(module: str) -> logging.Logger:
    """Return the logger of the room in which a module (``__name__``) stands."""
    room = module.rpartition(".")[0] or module
    # An installed wheel has its rooms at rostersync._core and so on.
    room = room.removeprefix(f"{ROOT}.").removeprefix("_")
    return logging.getLogger(ROOT if room == ROOT else f"{ROOT}.{room}")


@contextmanager
def step(log: logging.Logger, name: str, **facts: Fact) -> Iterator[Step]:
    """Log one step of the work when it ends, with how long it took.

    A step that is ended by an error says which class of error, never its message.
    """
    under_way = Step(facts)
    if not log.isEnabledFor(logging.DEBUG):
        yield under_way
        return
    began = time.perf_counter()
    try:
        yield under_way
    except BaseException as error:
        under_way.tell(error=type(error).__name__)
        raise
    finally:
        _log(log, name, under_way.facts, (time.perf_counter() - began) * 1000)


def note(log: logging.Logger, name: str, **facts: Fact) -> None:
    """Log one step that takes no time worth measuring."""
    if log.isEnabledFor(logging.DEBUG):
        _log(log, name, facts, None)


def _log(
    log: logging.Logger, name: str, facts: dict[str, Fact], milliseconds: float | None
) -> None:
    said = {key: _harmless(key, value) for key, value in facts.items() if value is not None}
    if milliseconds is not None:
        said["ms"] = round(milliseconds, 1)
    words = " ".join([name, *(f"{key}={value}" for key, value in said.items())])
    log.debug("%s", words, extra={"step": name, "facts": said})


def _harmless(name: str, value: Fact) -> Fact:
    """Return a fact as it may be logged: text of any other kind than ``TEXTS`` is left out."""
    if not isinstance(value, str):
        return value
    return value if name in TEXTS and _WORD.fullmatch(value) else _LEFT_OUT
