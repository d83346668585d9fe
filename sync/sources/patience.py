"""Patience: a connector is waited for, but not for ever.

Used by ``sync/reading``. What a connector is asked
runs in one thread of its own, one question after the other, so that a vendor or a plugin that never
answers costs its source the reading, and nobody else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, Generic, TypeVar, cast

from core.errors import IncompleteFetch

T = TypeVar("T")

_LAST_SECONDS = 30.0
"""How long a connector may take to close its pages, beyond the time of its reading."""


class _Question(Generic[T]):
    """One call on its way, and what came of it."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._answer: T | None = None
        self._error: BaseException | None = None
        self.answered = Event()

    def run(self) -> None:
        try:
            self._answer = self._ask()
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is wanted
            self._error = error
        self.answered.set()

    def answer(self) -> T:
        if self._error is not None:
            raise self._error
        return cast("T", self._answer)


class Patience:
    """Asks a connector until ``seconds`` are over, counted from now; ``what`` names the source."""

    def __init__(self, seconds: float, what: str) -> None:
        self._seconds = seconds
        self._what = what
        self._until = time.monotonic() + seconds
        self._questions: SimpleQueue[_Question[Any] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self.lost = False
        """A question was never answered: its connector is not to be asked anything more."""

    def ask(self, question: Callable[[], T]) -> T:
        """Return the answer, or raise what it raises. Raises ``IncompleteFetch`` at the end."""
        if self._thread is None:
            self._thread = Thread(target=self._work, name="connector", daemon=True)
            self._thread.start()
        asked = _Question(question)
        self._questions.put(asked)
        if self.lost or not asked.answered.wait(max(0.0, self._until - time.monotonic())):
            self.lost = True
            raise self.over()
        return asked.answer()

    def let_go(self, last: Callable[[], object]) -> None:
        """Ask for a last thing, such as closing the pages; it is not waited for long.

        Whatever it raises changes nothing any more: what was read is read.
        """
        if self._thread is not None and not self.lost:
            asked = _Question(last)
            self._questions.put(asked)
            self.lost = not asked.answered.wait(_LAST_SECONDS)

    def check(self) -> None:
        """Raise ``IncompleteFetch`` if the time is over."""
        if time.monotonic() >= self._until:
            raise self.over()

    def over(self) -> IncompleteFetch:
        """Return the error of a reading that took too long."""
        return IncompleteFetch(
            f"The reading of {self._what} was ended: it took more than {self._seconds:g} seconds.",
            hint="The next run tries again. If the roster is that large or its vendor that slow,"
            " set a longer reading_timeout for this source.",
        )

    def close(self) -> None:
        """Let the thread end, once it has answered the question that it is at."""
        self._questions.put(None)

    def _work(self) -> None:
        while (question := self._questions.get()) is not None:
            question.run()


@contextmanager
def patience(seconds: float, what: str) -> Iterator[Patience]:
    """Open a ``Patience`` for the length of the block."""
    patient = Patience(seconds, what)
    try:
        yield patient
    finally:
        patient.close()
