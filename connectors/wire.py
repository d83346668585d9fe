"""From a raw JSON record to our model, or to a ``SkipRecord`` that names rule and column.

Used by every connector that reads JSON. A wire shape is a msgspec Struct that names only the
fields we use: what has no field is never decoded. No message here holds a value of a record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError

from core.errors import SkipRecord

ModelT = TypeVar("ModelT", bound=BaseModel)
T = TypeVar("T")

Word = str | int | float | bool | None
"""A field that should be a string; numbers and booleans are met and read as their words."""

Raws = Annotated[list[msgspec.Raw], "raw records"]

_AT = re.compile(r"at `\$\.?([^`]*)`")


class Keyed(msgspec.Struct):
    """The id of a record, for telling records apart without reading them."""

    id: Word = None
    sourcedId: Word = None


_keyed = msgspec.json.Decoder(Keyed)


def text(value: Word) -> str | None:
    """Return a field as text, None for absent, null and blank."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).strip() or None


def key_of(raw: bytes, column: str) -> str:
    """Return a raw record's id, which stands in ``id`` or ``sourcedId``."""
    try:
        keyed = _keyed.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        keyed = Keyed()
    key = text(keyed.id if column == "id" else keyed.sourcedId)
    if key is None:
        raise SkipRecord(
            f"A record carries no {column}, so nobody can tell whose it is.",
            rule="missing-key",
            column=column,
            hint="Report this to the vendor.",
        )
    return key


def decode(decoder: msgspec.json.Decoder[T], raw: bytes, column: str) -> T:
    """Decode a raw record into its wire shape; ``column`` is where its id stands."""
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        found = _AT.search(str(error))
        where = re.sub(r"\[\.\.\.\]", "", found.group(1)) if found else ""
        raise SkipRecord(
            f"A record cannot be read: {where or 'its JSON'} has an unknown shape.",
            rule="unreadable",
            column=where,
            key=key_of(raw, column),
            hint="Report this to the vendor.",
        ) from None


def build(model: type[ModelT], key: str, values: dict[str, Any]) -> ModelT:
    """Make a model of ours, or say which field does not fit."""
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        column = str(first["loc"][0]) if first["loc"] else ""
        raise SkipRecord(
            f"A record's {column} cannot be used ({first['type'].replace('_', ' ')}).",
            rule="missing-value" if first["type"] == "missing" else "bad-value",
            column=column,
            key=key,
            hint="Have it corrected in the district's roster.",
        ) from None


def split_once(body: bytes, records: Sequence[bytes]) -> Callable[[bytes], Sequence[bytes]]:
    """Return a ``Page.split`` for a body that was taken apart already."""

    def split(asked: bytes) -> Sequence[bytes]:
        if asked is not body and asked != body:
            raise ValueError("this page's split knows its own body only")
        return records

    return split
