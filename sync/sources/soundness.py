"""Soundness: what a connector hands over is what its contract says, and a database can store it.

Used by the rooms of reading, at the border between a connector and the engine. What does not fit is
a ``TypeError`` or ``ValueError`` that says what, without a value: it is blamed on the connector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from connectors.contract.connector import Certificate, Connector, Page, Part, Record
from core.errors import SkipRecord
from core.models import LONGEST_KEY, NormalizedSchool, NormalizedUser

_LONGEST_FILE = 512
_LONGEST_COLUMN = 255
_LONGEST_RULE = 64
_LONGEST_MARK = 255
_LONGEST_STATE = 64
_MOST_WORDS = 1_000
"""Characters of a sentence or mark of a vendor."""
_MOST_NOTES = 100
_MOST_CURSOR = 65_536
_MOST_COUNT = 10**15


def storable(words: str, most: int = _MOST_WORDS) -> str:
    """Return text that both databases take: no NUL, no half of a surrogate pair, not endless."""
    words = words[:most].replace("\0", "")
    return words if words.isascii() else words.encode("utf-8", "replace").decode()


def sound_page(page: object, connector: Connector) -> Page:
    """Return a page that a connector served, if it is one."""
    if not isinstance(page, Page):
        raise TypeError("pages() served something that is no Page")
    if page.stream not in connector.streams:
        raise ValueError("pages() served a page of a stream that the connector does not have")
    if not isinstance(page.body, bytes) or not isinstance(page.context, bytes):
        raise TypeError("a page's body and context are bytes")
    if page.file is not None:
        file = storable(page.file, _LONGEST_FILE)
        if file != page.file:
            return replace(page, file=file)
    return page


def sound_certificate(found: object) -> Certificate:
    """Return the certificate of a reading, if it is one."""
    if not isinstance(found, Certificate):
        raise TypeError("pages() ended without a Certificate")
    _check_counts(found)
    when = found.vendor_time
    if when is not None and not (isinstance(when, datetime) and when.tzinfo is not None):
        raise ValueError("a certificate's vendor_time is a time with a time zone")
    if found.cursor is not None:
        if not isinstance(found.cursor, Mapping):
            raise TypeError("a certificate's cursor is a mapping")
        if len(msgspec.json.encode(dict(found.cursor))) > _MOST_CURSOR:
            raise ValueError("a certificate's cursor is too long to keep")
    return replace(
        found,
        reason=_words(found.reason),
        vendor_district=_mark(found.vendor_district, _LONGEST_MARK),
        vendor_state=_mark(found.vendor_state, _LONGEST_STATE),
        revision=_mark(found.revision, _LONGEST_MARK),
        notes=tuple(storable(note) for note in found.notes[:_MOST_NOTES]),
        absent_streams=frozenset(found.absent_streams),
    )


def _check_counts(found: Certificate) -> None:
    if not isinstance(found.declared, Mapping):
        raise TypeError("a certificate's declared maps streams to totals")
    for count in (found.pages, *found.declared.values()):
        if not isinstance(count, int) or not 0 <= count <= _MOST_COUNT:
            raise ValueError("a certificate counts in whole numbers that are not beyond all reason")
    if not all(isinstance(flag, bool) for flag in (found.complete, found.incremental)):
        raise TypeError("a certificate's complete and incremental are true or false")


def _words(said: str | None) -> str | None:
    if said is not None and not isinstance(said, str):
        raise TypeError("a certificate's marks are texts")
    return None if said is None else storable(said)


def _mark(said: str | None, most: int) -> str | None:
    """Return a mark that is compared later: one that is cut would be another."""
    if said is not None and len(said) > most:
        raise ValueError(f"a mark of a certificate is longer than {most} characters")
    return _words(said)


def told_of(error: SkipRecord) -> tuple[str, str, str, str]:
    """Return column, rule, message and hint of a finding as they are kept."""
    return (
        storable(error.column, _LONGEST_COLUMN), storable(error.rule, _LONGEST_RULE),
        storable(error.message), storable(error.hint),
    )  # fmt: skip


def sound_parsed(parsed: Any) -> Record | Part:
    """Return what ``parse`` made of a row, if it is a record or a part of one."""
    if not isinstance(parsed, Record | Part):
        raise TypeError("parse() returned neither a Record nor a Part")
    if isinstance(parsed, Part):
        if storable(parsed.owner, LONGEST_KEY) != parsed.owner:
            raise SkipRecord(
                "The id of the person in this row is too long or not text.",
                rule="key",
                key=parsed.key,
                hint=f"An id has 1 to {LONGEST_KEY} characters.",
            )
        return parsed
    if parsed.user is not None and not isinstance(parsed.user, NormalizedUser):
        raise TypeError("a Record's user is a NormalizedUser")
    if parsed.school is not None and not isinstance(parsed.school, NormalizedSchool):
        raise TypeError("a Record's school is a NormalizedSchool")
    for key in parsed.former_keys:
        if storable(key) != key:
            raise ValueError("a former key cannot be stored")
    return parsed
