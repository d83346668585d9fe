"""A record that is not quite as its shape says, fitted to it: empty is absent, one may be a list.

Used by ``connectors/contract/json_records.py`` for records that the exact decoder refuses, which
are few. A shape is a msgspec Struct. Nothing is guessed: what does not fit stays as it is, and is
refused as before.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

T = TypeVar("T")

_SCALARS = (
    inspect.StrType, inspect.IntType, inspect.FloatType, inspect.BoolType,
)  # fmt: skip


def fitted(struct: type[T], raw: bytes) -> T:
    """Decode a record into its shape. Raises ``msgspec.DecodeError`` if it does not fit at all.

    Empty text, lists and objects are absent, wherever they stand. Where a list of references is
    expected, one reference will do; where a reference is expected (an object with one field that we
    read), its id alone will do.
    """
    found = msgspec.json.decode(raw)
    kind: Any = struct
    return msgspec.convert(_fit(found, _shape(kind)), struct)


@cache
def _shape(struct: Hashable) -> inspect.Type:
    return inspect.type_info(struct)


def _is_empty(value: object) -> bool:
    if value is None:
        return True
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, list):
        return all(_is_empty(item) for item in value)
    if isinstance(value, dict):
        return all(_is_empty(item) for item in value.values())
    return False


def _fit(value: Any, shape: inspect.Type) -> Any:
    """Return a value, not an empty one, as a shape takes it; as it is where the shape does not."""
    kinds = shape.types if isinstance(shape, inspect.UnionType) else (shape,)
    structs = [kind for kind in kinds if isinstance(kind, inspect.StructType)]
    lists = [kind for kind in kinds if isinstance(kind, inspect.ListType)]
    maps = [kind for kind in kinds if isinstance(kind, inspect.DictType)]
    scalars = any(isinstance(kind, _SCALARS) for kind in kinds)
    if isinstance(value, list):
        if lists:
            return [_fit(item, lists[0].item_type) for item in value if not _is_empty(item)]
        return value
    if isinstance(value, dict):
        if structs:
            return _fields(value, structs[0])
        if maps:
            inner = maps[0].value_type
            return {k: _fit(item, inner) for k, item in value.items() if not _is_empty(item)}
    elif scalars:
        return value
    elif structs and len(structs[0].fields) == 1:  # a reference that stands as its id alone
        return {structs[0].fields[0].encode_name: value}
    if lists:
        return [_fit(value, lists[0].item_type)]
    return value


def _fields(value: dict[str, Any], shape: inspect.StructType) -> dict[str, Any]:
    kinds = {field.encode_name: field.type for field in shape.fields}
    return {
        name: _fit(item, kinds[name])
        for name, item in value.items()
        if name in kinds and not _is_empty(item)
    }
