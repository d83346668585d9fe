"""Raw JSON records: whatever they hold, they are read or skipped, and no value is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.clever import records as clever_records
from connectors.clever.connector import Clever, CleverConfig
from connectors.contract.connector import Record
from connectors.oneroster_standard import records as oneroster_records
from core.errors import SkipRecord

CLEVER = "id name first last email roles student teacher staff school schools grade sis_id"
ONEROSTER = "sourcedId status role roles org orgs userIds type identifier grades metadata givenName"

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(["student", "teacher", "x" * 2000, "\x00", "active", "05", "true"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from((CLEVER + " " + ONEROSTER).split()), inner, max_size=5)
    ),
    max_leaves=12,
)


def records(names: str) -> Any:
    return st.dictionaries(st.sampled_from(names.split()), values, max_size=8)


def said(parse: Callable[[bytes], Record], raw: bytes) -> Record | SkipRecord:
    try:
        return parse(raw)
    except SkipRecord as skipped:
        return skipped


@given(records(CLEVER))
def test_any_clever_record_is_read_or_skipped(record: dict[str, Any]) -> None:
    raw = json.dumps(record).encode()
    for parse in (clever_records.parse_user, clever_records.parse_school):
        assert isinstance(said(parse, raw), Record | SkipRecord)


@given(records(ONEROSTER))
def test_any_oneroster_record_is_read_or_skipped(record: dict[str, Any]) -> None:
    raw = json.dumps(record).encode()
    for parse in (
        lambda r: oneroster_records.parse_user(r, ("Fed",)),
        oneroster_records.parse_school,
    ):
        assert isinstance(said(parse, raw), Record | SkipRecord)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_skipped(raw: bytes) -> None:
    connector = Clever(CleverConfig(token="t"))  # type: ignore[arg-type]
    for stream in connector.streams:
        with pytest.raises(SkipRecord):
            connector.parse(stream, raw)
        with pytest.raises(SkipRecord):
            connector.identify(stream, raw)


@pytest.mark.parametrize(
    ("record", "column"),
    [
        (
            {"id": "a", "name": {"last": "A"}, "email": "a@" + "ada" * 400, "roles": {"staff": {}}},
            "email",
        ),
        ({"id": "a", "name": {"last": "Ada\x00kafor"}, "roles": {"staff": {}}}, "family_name"),
        (
            {"id": "a", "name": {"last": "A"}, "roles": {"staff": {"schools": ["Adaokafor" * 99]}}},
            "school",
        ),
        ({"id": "a", "roles": {"staff": {"schools": {"Adaokafor": 1}}}}, "roles.schools"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_by_its_column_only(record: Any, column: str) -> None:
    with pytest.raises(SkipRecord) as caught:
        clever_records.parse_user(json.dumps(record).encode())
    assert caught.value.column == column
    assert caught.value.key == "a"
    assert "Ada" not in caught.value.message + caught.value.hint + repr(caught.value)


def test_a_school_without_a_name_is_skipped_by_its_column() -> None:
    with pytest.raises(SkipRecord) as caught:
        clever_records.parse_school(b'{"id": "a", "name": " "}')
    assert (caught.value.rule, caught.value.column) == ("missing-value", "name")
