"""From a raw JSON record to our model, or to a ``SkipRecord`` that names rule and column.

Used by every connector that reads JSON. A wire shape is a msgspec Struct that names only the fields
we use; other fields are never decoded. No message here holds a value of a record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, Generic, TypeVar

import msgspec
import msgspec.structs
from pydantic import BaseModel, ValidationError

from connectors.contract.lenient import fitted
from connectors.contract.meant import meant
from connectors.contract.words import is_address, no_address
from core.errors import RetryableError, SkipRecord

ModelT = TypeVar("ModelT", bound=BaseModel)
T = TypeVar("T")

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes that are no JSON, no text, or nested too deep."""

Word = str | int | float | bool | None
"""A field that should be a string; vendors also send numbers and booleans, read as text."""

_AT = re.compile(r"at `\$\.?([^`]*)`")


class Keyed(msgspec.Struct):
    """The id of a record, to tell records apart without decoding them fully."""

    id: Word = None
    sourcedId: Word = None


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_keyed = msgspec.json.Decoder(Keyed)
_array = msgspec.json.Decoder(list[msgspec.Raw])
_packed = msgspec.msgpack.Encoder().encode


class Reader(Generic[T]):
    """Decodes records of one shape, and keeps the last one for the next caller.

    A record's gist is taken and then it is parsed; this way it is decoded only once. A record whose
    fields have other shapes than expected is fitted first: empty is absent, and a reference may be
    its id alone.
    """

    def __init__(self, struct: type[T]) -> None:
        exactly = msgspec.json.Decoder(struct).decode

        def decode(raw: bytes) -> T:
            try:
                return exactly(raw)
            except msgspec.ValidationError as refusal:
                try:
                    return fitted(struct, raw)
                except UNREADABLE:
                    raise refusal from None  # it names the field as the vendor wrote it

        self.decode: Callable[[bytes], T] = lru_cache(maxsize=1)(decode)


def text(value: Word) -> str | None:
    """Return a field as text, None for absent, null and blank."""
    if value is None:
        return None
    if isinstance(value, str):  # almost all are
        return value.strip() or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    return str(value)


_EXACT = 2**53


def told(value: Word) -> str | None:
    """Return what a field that is no name means, as ``connectors.contract.meant`` has it."""
    found = text(value)
    return (meant(found) or None) if found is not None else None


def key_of(raw: bytes, column: str) -> str:
    """Return a raw record's id, which is in ``id`` or ``sourcedId``."""
    try:
        keyed = _keyed.decode(raw)
        key = text(keyed.id if column == "id" else keyed.sourcedId)
    except (*UNREADABLE, ValueError):  # or a number of more digits than anybody writes
        key = None
    if key is None:
        raise SkipRecord(
            f"A record carries no {column}, so nobody can tell whose it is.",
            rule="missing-key",
            column=column,
            hint="Report this to the vendor.",
        )
    return key


def extra_fields(
    raw: bytes, shape: type[msgspec.Struct], left_out: frozenset[str]
) -> tuple[str, ...]:
    """Return the names of a record's fields that ``shape`` does not read, never their values.

    Fields in ``left_out``, which the vendor documents and we ignore on purpose, are not named. A
    name that does not look like a field name is returned as ``other``.
    """
    try:
        names = _members.decode(raw).keys()
    except UNREADABLE:  # the name of a field is no text
        return ("other",)
    known = _fields_of(shape, left_out)
    if names <= known:  # almost always
        return ()
    return tuple(sorted({name if _NAME.fullmatch(name) else "other" for name in names - known}))


_NAME = re.compile(r"[A-Za-z_][A-Za-z_.:-]{0,39}")


@cache
def _fields_of(shape: type[msgspec.Struct], left_out: frozenset[str]) -> frozenset[str]:
    return left_out.union(field.encode_name for field in msgspec.structs.fields(shape))


def decode(reader: Reader[T], raw: bytes, column: str) -> T:
    """Decode a raw record into its wire shape; ``column`` is the field with its id."""
    try:
        return reader.decode(raw)
    except UNREADABLE as error:
        found = _AT.search(str(error))
        where = re.sub(r"\[\.\.\.\]", "", found.group(1)) if found else ""
        raise SkipRecord(
            f"A record cannot be read: {where or 'its JSON'} has an unknown shape.",
            rule="unreadable",
            column=where,
            key=key_of(raw, column),
            hint="Report this to the vendor.",
        ) from None


def gist_of(reader: Reader[T], raw: bytes) -> bytes | None:
    """Return a raw record in its wire shape, packed as bytes, or None if it cannot be read."""
    try:
        return _packed(reader.decode(raw))
    except (*UNREADABLE, OverflowError):  # or a number that does not fit
        return None


def build(model: type[ModelT], key: str, values: dict[str, Any]) -> ModelT:
    """Build one of our models, or say which field does not fit."""
    # Blank values need no validation, and are half of the work.
    said = {name: value for name, value in values.items() if value is not None}
    try:
        made: ModelT = model.__pydantic_validator__.validate_python(said)  # `model(**said)`, sooner
    except ValidationError as error:
        raise unusable(error, key) from None
    return made


def unusable(error: ValidationError, key: str) -> SkipRecord:
    """Translate a model's refusal for its record: the column, never the value."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    column = str(first["loc"][0]) if first["loc"] else ""
    return SkipRecord(
        f"A record's {column} cannot be used ({first['type'].replace('_', ' ')}).",
        rule="missing-value" if first["type"] == "missing" else "bad-value",
        column=column,
        key=key,
        hint="Have it corrected in the district's roster.",
    )


def json_of(decoder: msgspec.json.Decoder[T], body: bytes, vendor: str) -> T:
    """Decode an answer's envelope; a truncated one, or a web page, may be complete next time."""
    try:
        return decoder.decode(body)
    except UNREADABLE:
        found = "a web page" if body.lstrip()[:1] == b"<" else "something that is cut or unknown"
        raise RetryableError(
            f"{vendor} answered with {found} instead of data.",
            hint="If it stays so, check the base URL and the credentials of this source.",
        ) from None


def split_array(body: bytes) -> list[bytes]:
    """Return the records of a bare array."""
    return [bytes(raw) for raw in _array.decode(body)]


def read_time(word: Word) -> datetime | None:
    """Read an ISO time as an aware one; None for anything else.

    A time before 1970 or after 2199 is not read: vendors write 0001-01-01 for an unknown time.
    """
    try:
        found = datetime.fromisoformat((text(word) or "")[:64])
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if 1970 <= found.year < 2200 else None


def address_of(key: str, word: Word, doubts: list[SkipRecord]) -> str | None:
    """Return an email address, or None; a malformed address adds a doubt."""
    found = told(word)
    if found is None or is_address(found):
        return found
    doubts.append(no_address(key))
    return None


def no_name(key: str, column: str) -> SkipRecord:
    """Return the refusal of a record about a person who has no name at all."""
    return SkipRecord(
        "A person has neither a given name nor a family name.",
        rule="missing-value",
        column=column,
        key=key,
        hint="Have at least one of the two filled in, in the district's roster.",
    )


def without(fields: Mapping[str, Any], dropped: frozenset[str]) -> dict[str, Any]:
    """Return a record without some keys, however deeply nested they are."""
    return {
        name: without(value, dropped) if isinstance(value, dict) else value
        for name, value in fields.items()
        if name not in dropped
    }
