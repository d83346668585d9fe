"""A scenario: provides the conformance checks with a vendor in each situation they ask for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

CANARY = "canarybird"
"""The word that a scenario puts into values that must never come out (a bad row's name, a
password)."""


class Situation(StrEnum):
    """How the vendor behaves when a check reads it: always the same roster, with one difference.

    The roster has at least three people, a student without email, a name that is not ASCII, and,
    where the format has schools, a school. The last five situations are asked only of
    scenarios over HTTP, the two before them of connectors that read incrementally.
    """

    ROSTER = "roster"
    """Everything is normal."""
    EMPTY = "empty"
    """The vendor answers and has no people (a file set: headers only)."""
    TRUNCATED = "truncated"
    """The reading ends early: a file cut in the middle, a page that breaks off."""
    BAD_ROW = "bad_row"
    """One additional person, whose row cannot be used; its names are ``CANARY``."""
    UNKNOWN_WORDS = "unknown_words"
    """One person has a role, grade or kind that the vendor's documentation does not know."""
    PRIVATE_DATA = "private_data"
    """One person has a password, birth date or the like, with ``CANARY`` in it."""
    CHANGED = "changed"
    """The roster a day later, for connectors that read incrementally: one person changed, one is
    new, one is gone. Asked with the cursor of ROSTER, the vendor says just that."""
    CURSOR_LOST = "cursor_lost"
    """The vendor no longer knows the cursor of ROSTER."""
    REFUSED = "refused"
    """Every request is answered 401."""
    THROTTLED = "throttled"
    """The first request is answered 429 with ``Retry-After: 1``; then everything is normal."""
    FAILING = "failing"
    """Every request is answered 500."""
    GARBLED = "garbled"
    """Every request is answered 200 with JSON that breaks off."""
    HTML = "html"
    """Every request is answered 200 with a page of HTML."""


HTTP_ONLY = frozenset(
    {
        Situation.REFUSED,
        Situation.THROTTLED,
        Situation.FAILING,
        Situation.GARBLED,
        Situation.HTML,
    }
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request that a vendor saw: when (seconds on the monotonic clock), what, its answer."""

    at: float
    path: str
    status: int


@dataclass(frozen=True, slots=True)
class Setting:
    """One vendor, up and ready: the config to read it with, as it stands in a district file.

    ``directory`` is the working folder of relative paths. ``exchanges`` grows with each request
    the vendor sees; None where the scenario cannot tell. ``upload`` is the roster as a file (or a
    folder of CSV files) that somebody could upload, for a connector that takes uploads. ``issued``
    grows with each token that the vendor hands out or that a request carries: they are secrets.
    """

    config: Mapping[str, Any]
    directory: str = "."
    exchanges: Sequence[Exchange] | None = None
    upload: str | None = None
    issued: Sequence[str] = ()


class NotSupplied(Exception):
    """The scenario does not supply this situation: supply it, or exempt the check and say why."""

    def __init__(self, situation: Situation) -> None:
        super().__init__(
            f"the scenario does not supply the situation {situation.value!r}: "
            "supply it, or exempt the check and say why"
        )


class Scenario(ABC):
    """Sets up a vendor for each situation. Subclass it, or use one of the classes below."""

    over_http: ClassVar[bool] = False
    """True: the connector speaks HTTP, so refusals, throttling and failures are checked too."""
    people: int
    """How many people the roster has."""
    schools: int
    """How many schools the roster has."""
    exempt: Mapping[str, str]
    """Checks that this connector need not pass: name → reason."""
    expected: Path | None
    """The file that says, field by field, what the normal roster means; None: nobody said it."""

    def __init__(
        self,
        *,
        people: int,
        schools: int,
        exempt: Mapping[str, str] | None = None,
        expected: Path | None = None,
    ) -> None:
        self.people = people
        self.schools = schools
        self.exempt = exempt or {}
        self.expected = expected

    @abstractmethod
    def open(self, situation: Situation) -> AbstractContextManager[Setting]:
        """Set the vendor up for as long as the context lasts; raise NotSupplied if it cannot."""


class FolderScenario(Scenario):
    """A file connector's scenario: one folder per situation, named after it.

    ``folder/roster/``, ``folder/empty/`` and so on; ``key`` is the config field that takes the
    folder, ``file`` the file in it if the field takes a file, ``config`` the other fields. What
    the roster means is in ``folder/expected.json``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        people: int,
        schools: int,
        key: str = "path",
        file: str = "",
        config: Mapping[str, Any] | None = None,
        exempt: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            people=people, schools=schools, exempt=exempt, expected=folder / "expected.json"
        )
        self._folder = folder
        self._key = key
        self._file = file
        self._config = config or {}

    @contextmanager
    def open(self, situation: Situation) -> Iterator[Setting]:
        """Point the config at the situation's folder."""
        folder = self._folder / situation.value
        if not folder.is_dir():
            raise NotSupplied(situation)
        path = folder / self._file if self._file else folder
        yield Setting(
            {**self._config, self._key: str(path)}, directory=str(folder), upload=str(path)
        )
