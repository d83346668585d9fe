"""Files that people give and take: what a connector knows of its own format.

Used by ``Connector.recognises``, ``Connector.template`` and ``Connector.export_rows``. The values
here hold no storage: the engine says what a source holds, the connector says which cells that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GivenFiles = Mapping[str, Sequence[str]]
"""The files that somebody gave: name → the names of its columns, both in lower case.

A header is read when it is asked for; a file without a readable header has no columns.
"""


@dataclass(frozen=True, slots=True)
class ExampleFile:
    """One file of a template: its header and example rows, which no real person is in."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Somebody whom an export cannot carry, and why (``a user file needs an email address``)."""

    user_id: str
    reason: str


ExportedRow = tuple[str | int, ...] | LeftOut


@dataclass(frozen=True, slots=True)
class ExportFile:
    """One file of an export; ``rows`` may be asked for once or often, and are streamed."""

    name: str
    header: Sequence[str]
    rows: Callable[[], Iterator[ExportedRow]]


@dataclass(frozen=True, slots=True)
class HeldPerson:
    """Somebody active or suspended whom a source holds.

    ``profile`` has the fields of ``NormalizedUser`` as the directory has them; ``said`` is what the
    source said last, as ``NormalizedUser.model_dump(mode="json", exclude_defaults=True)`` gives it:
    its ``external_id`` is the source's own key, its ``memberships`` say who is where.
    """

    user_id: str
    suspended: bool
    profile: Mapping[str, Any]
    said: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What a source holds, asked for as a file of its own format.

    ``joined``: the source's people were joined from several rows when they were read last.
    ``schools`` and ``people`` may be asked often; each call begins anew and streams. Schools come
    as ``said`` does. ``anybody_has`` says whether any of the people has a value in a field of the
    profile or, for ``person_key``, whether the source said one.
    """

    district: str
    district_name: str
    source: str
    joined: bool
    schools: Callable[[], Iterator[Mapping[str, Any]]]
    people: Callable[[], Iterator[HeldPerson]]
    anybody_has: Callable[[str], bool]
