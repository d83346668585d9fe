"""Mapping rules: our field = rule, over the raw record's own fields."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError
from sync.sources.mapping import WORDS, read_rules

RAW: dict[str, Any] = {
    "email": "Ada.Okafor@Springfield.Example",
    "credentials": {"district_username": "aokafor"},
    "userIds": [{"type": "Fed", "identifier": "ada@fed.example"}],
    "number": 7,
    "flag": True,
    "blank": "",
}


def _value(rule: str | list[str]) -> str | None:
    (one,) = read_rules({"username": rule}, "clever")
    return one.value(RAW)


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("{credentials.district_username}", "aokafor"),
        ("{email|before:@|lower}", "ada.okafor"),
        ("{email|after:@}", "Springfield.Example"),
        ("{userIds.0.identifier}", "ada@fed.example"),
        ("s{number|zeros:5}", "s00007"),
        ("{number}-{flag}", "7-true"),
        ("{nothing.there}", None),
        ("{credentials}", None),
        ("{userIds.9.identifier}", None),
        (["{blank}", "{email|before:@|upper}"], "ADA.OKAFOR"),
        (["{blank}", "{nothing}"], None),
    ],
)
def test_a_rule_reads_the_raw_record(rule: str | list[str], value: str | None) -> None:
    assert _value(rule) == value


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"shoe_size": "{x}"}, "mapping.shoe_size"),
        ({"username": "{x"}, "brace"),
        ({"username": "{}"}, "names no field"),
        ({"username": "{x|shout}"}, "shout"),
        ({"username": "{x|zeros:many}"}, "zeros"),
        ({"username": 5}, "text"),
        ({"username": ["{x}", 5]}, "text"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused_by_its_key(
    mapping: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        read_rules(mapping, "clever")
    assert refused.value.message.startswith("source clever, mapping.")
    assert refused.value.hint


@given(
    st.dictionaries(st.text(max_size=5), st.text() | st.integers() | st.none()),
    st.text(alphabet="abc.|:@{}", max_size=12),
    st.sampled_from(sorted(WORDS)),
)
def test_any_rule_that_is_accepted_gives_text_or_nothing(
    raw: dict[str, object], path: str, word: str
) -> None:
    try:
        (rule,) = read_rules({"username": f"{{{path}|{word}}}"}, "s")
    except ConfigError:
        return
    value = rule.value(raw)
    assert value is None or value.strip()
