"""The district file: what it may say, and how it is refused."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from core.district_file import read_district_file
from core.errors import ConfigError
from core.settings import DistrictSettings, LimitRule
from core.toml_lines import TomlLines

WHOLE = """\
[[district]]
slug = "springfield"
name = "Springfield USD"
kind = "school"                                         # or "firm" (FINRA FLEX)
timezone = "America/Chicago"
email_domains = ["@Springfield.Example"]
sync_times = ["05:00", 10:00:00]
grace = { days = 0, fetches = 1 }
guard = "explain"
freshness_hours = 26
retention_days = 0
notify = ["env:SPRINGFIELD_NOTIFY_URL"]
lock_on_edit = ["role"]

[[district.pause]]
start = "06-15"
end = "08-10"
mode = "paused"

[[district.pause]]
start = 2026-12-20
end = 2027-01-03
mode = "additions_only"

[district.limits]
window_days = 7
school_role = { percent = 10, least = 3 }
district_role = { percent = 10, least = 3 }
district = { percent = 5, least = 10 }
[[district.limits.override]]
school = "Lincoln High"
role = "student"
percent = 15
least = 5
from = "06-01"
to = "06-30"

[[district.source]]
name = "clever"
connector = "clever"
precedence = 1
[district.source.config]
token = "env:SPRINGFIELD_CLEVER_TOKEN"
[district.source.mapping]
username = "{credentials.district_username}"
"""

LEAST = """\
[[district]]
slug = "a"
name = "A"
timezone = "UTC"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "districts.toml"
    path.write_bytes(text.encode())
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        read_district_file(write(folder, text))
    return refused.value.message


def test_the_documented_file_is_read_with_all_its_keys(tmp_path: Path) -> None:
    (district,) = read_district_file(write(tmp_path, WHOLE)).file.district
    assert district.email_domains == ("springfield.example",)
    assert district.sync_times == ("05:00", "10:00")
    assert [(pause.start, pause.mode) for pause in district.pause] == [
        ("06-15", "paused"),
        ("2026-12-20", "additions_only"),
    ]
    (override,) = district.limits.override
    assert (override.school, override.percent, override.from_, override.to) == (
        "Lincoln High", 15, "06-01", "06-30",
    )  # fmt: skip
    assert district.source[0].mapping == {"username": "{credentials.district_username}"}


def test_what_is_left_out_has_the_documented_defaults(tmp_path: Path) -> None:
    (district,) = read_district_file(write(tmp_path, LEAST)).file.district
    assert district.limits.school_role == LimitRule(percent=10, least=3)
    assert district.limits.district == LimitRule(percent=5, least=10)
    assert (district.grace.days, district.grace.fetches, district.guard) == (0, 1, "explain")
    assert district.lock_on_edit == ("role",)


def test_what_the_database_keeps_reads_back_as_the_same_settings(tmp_path: Path) -> None:
    (district,) = read_district_file(write(tmp_path, WHOLE)).file.district
    stored = district.stored()
    assert "source" not in stored
    assert DistrictSettings.model_validate(stored) == district.model_copy(update={"source": ()})


def test_windows_line_ends_and_a_byte_order_mark_are_no_fault(tmp_path: Path) -> None:
    text = "\ufeff" + LEAST.replace("\n", "\r\n")
    assert read_district_file(write(tmp_path, text)).file.district[0].slug == "a"
    assert "line 4: district.timezone" in refusal(tmp_path, text.replace("UTC", "Moon"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('kind = "college"', "line 5: district.kind should be 'school' or 'firm'."),
        ('guards = "off"', "line 5: district.guards is not a key here; did you mean guard?"),
        ('sync_times = [\n"05:00",\n"5 am"]', "line 7: district.sync_times is not a time of day"),
        ("grace = { days = -1 }", "line 5: district.grace.days should be greater than or equal"),
        ('email_domains = ["a b"]', "line 5: district.email_domains is not an email domain"),
        ('lock_on_edit = ["shoe"]', "line 5: district.lock_on_edit is not a field"),
        ("[[district.pause]]\nstart = 06-15", "line 6: districts.toml is not valid TOML"),
        ('[[district.pause]]\nstart = "06-15"', "line 5: district.pause.end is missing; add it."),
        (
            '[[district.pause]]\nstart = "06-31"\nend = "08-10"',
            "line 6: district.pause.start is not a day",
        ),
        (
            '[[district.pause]]\nstart = "2026-06-15"\nend = "08-10"',
            "line 7: district.pause.end must be written like start",
        ),
        (
            '[[district.pause]]\nstart = "2026-06-15"\nend = "2026-06-01"',
            "line 7: district.pause.end is before start.",
        ),
        (
            "[district.limits]\ndistrict = { percent = 101, least = 3 }",
            "line 6: district.limits.district.percent should be less than or equal to 100.",
        ),
        (
            '[[district.limits.override]]\npercent = 1\nleast = 1\nfrom = "06-01"',
            "line 8: district.limits.override.from give both, from and to, or neither.",
        ),
        ("name2 = 1\nname2 = 2", "line 6"),
    ],
)
def test_an_error_names_the_key_and_its_line(tmp_path: Path, line: str, said: str) -> None:
    message = refusal(tmp_path, f"{LEAST}{line}\n")
    if "not valid TOML" in said or said == "line 6":
        assert "line 6" in message
        assert "not valid TOML" in message
    else:
        assert said in message


SOURCE = '[[district.source]]\nname = "s"\nconnector = "c"\n'
LIMITS = "school_role", "district_role", "district", "additions", "blanked", "renamed", "moved"
BOUNDS = {  # the text with the number in its last line, and the least and the most it may be
    "grace = { days = {} }": (0, 36_500),
    "grace = { fetches = {} }": (1, 10**9),
    "freshness_hours = {}": (1, 876_000),
    "run_minutes = {}": (1, 10_080),
    "retention_days = {}": (0, 36_500),
    "limits.window_days = {}": (1, 366),
    **{f"limits.{name} = {{ percent = {{}}, least = 1 }}": (0, 100) for name in LIMITS},
    **{f"limits.{name} = {{ percent = 1, least = {{}} }}": (0, 10**9) for name in LIMITS},
    "[[district.limits.override]]\nleast = 1\npercent = {}": (0, 100),
    "[[district.limits.override]]\npercent = 1\nleast = {}": (0, 10**9),
    SOURCE + "precedence = {}": (1, 10**9),
}


@pytest.mark.parametrize("text", BOUNDS)
def test_a_number_at_its_bound_is_read_and_one_beyond_it_is_refused_with_a_sentence(
    tmp_path: Path, text: str
) -> None:
    least, most = BOUNDS[text]
    for number in (least, most):
        read_district_file(write(tmp_path, LEAST + text.replace("{}", str(number)) + "\n"))
    for number, said in (
        (least - 1, f"should be greater than or equal to {least}."),
        (most + 1, f"should be less than or equal to {most}."),
    ):
        message = refusal(tmp_path, LEAST + text.replace("{}", str(number)) + "\n")
        assert message.startswith(f"districts.toml, line {4 + len(text.splitlines())}: district.")
        assert message.endswith(said)


def test_every_number_of_a_district_file_is_among_those_with_bounds() -> None:
    assert len(_numbers(DistrictSettings)) == len(BOUNDS)


def _numbers(model: type[BaseModel]) -> list[str]:
    """Return the names of all fields of a model, and of the models in it, that are numbers."""
    found = []
    for name, field in model.model_fields.items():
        if field.annotation is int:
            found.append(name)
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                found += [f"{name}.{below}" for below in _numbers(inner)]
    return found


def test_a_district_without_a_name_is_refused_at_its_own_line(tmp_path: Path) -> None:
    text = LEAST + "\n" + LEAST.replace('"a"', '"b"').replace('name = "A"\n', "")
    assert "line 6: district.name is missing; add it." in refusal(tmp_path, text)


def test_two_districts_or_sources_of_one_name_are_refused_at_the_second(tmp_path: Path) -> None:
    assert "line 6: district.slug two districts have the slug a" in refusal(tmp_path, LEAST * 2)
    source = '[[district.source]]\nname = "s"\nconnector = "c"\nprecedence = {}\n'
    text = LEAST + source.replace("{}", "1") + source.replace("{}", "2")
    assert "line 10: district.source.name the district has two sources" in refusal(tmp_path, text)
    text = LEAST + source.replace("{}", "1") + source.replace('"s"', '"t"').replace("{}", "1")
    assert "line 12: district.source.precedence s and t have the same" in refusal(tmp_path, text)


def test_every_fault_of_a_file_is_listed_in_the_order_of_its_lines(tmp_path: Path) -> None:
    message = refusal(tmp_path, LEAST + 'guard = "no"\nretention_days = -1\nfreshness_hours = 0\n')
    assert [line.split(":")[0] for line in message.splitlines()] == [
        f"districts.toml, line {number}" for number in (5, 6, 7)
    ]


def test_a_notify_address_in_clear_is_refused_and_never_echoed(tmp_path: Path) -> None:
    message = refusal(tmp_path, LEAST + 'notify = ["https://hooks.example/T0PSECRET"]\n')
    assert "line 5: district.notify is given in clear. Give env:NAME" in message
    assert "T0PSECRET" not in message
    with pytest.raises(ValidationError) as refused:
        DistrictSettings.model_validate(
            {"slug": "a", "name": "A", "timezone": "UTC", "notify": ["T0PSECRET"]}
        )
    assert "T0PSECRET" not in str(refused.value)


@pytest.mark.parametrize("name", ["../../etc/passwd", "Amerika/Chicago", "", "/UTC"])
def test_a_time_zone_that_does_not_exist_is_refused(tmp_path: Path, name: str) -> None:
    assert "line 4: district.timezone is not a time zone" in refusal(
        tmp_path, LEAST.replace('"UTC"', f'"{name}"')
    )


def test_an_empty_file_and_a_missing_file_are_refused_with_a_sentence(tmp_path: Path) -> None:
    assert "line 1: The file holds no [[district]] table" in refusal(tmp_path, "")
    with pytest.raises(ConfigError, match="There is no file"):
        read_district_file(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_district_file(tmp_path)


def test_a_file_in_another_encoding_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "districts.toml"
    path.write_bytes(LEAST.replace('"A"', '"Ä"').encode("latin-1"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_district_file(path)


def test_lines_are_found_through_every_shape_of_toml() -> None:
    text = (
        "# head\n"
        "'a b'.\"c\\u0041\" = '''one\n"
        "two\"\"\" '''\n"
        'list = [ # note ]\n  "x # y", [1,\n 2], {k = "}",\n  m.n = 3},\n]\n'
        '[t]\nv = """\\\n " \\""" "" """""\n[[t.u]]\nw = 1\n[[t.u]]\nw = 2\n[t.u.x]\ny = 3\n'
    )
    # line ends inside inline tables came with TOML 1.1: what tomllib refuses never gets here
    text = text.replace("},\n]", "}\n]").replace('"}",\n', '"}",')
    tomllib.loads(text)
    lines = TomlLines(text)
    assert [lines.line(path) for path in [
        ("a b", "cA"), ("list",), ("list", 0), ("list", 1), ("list", 1, 1), ("list", 2, "k"),
        ("list", 2, "m", "n"), ("t", "v"), ("t", "u", 0, "w"), ("t", "u", 1, "w"),
        ("t", "u", 1, "x", "y"),
    ]] == [2, 4, 5, 5, 6, 6, 6, 9, 12, 14, 16]  # fmt: skip


def test_a_key_that_is_not_there_has_the_line_of_what_should_hold_it() -> None:
    assert TomlLines("\n[a]\nb = 1\n").line(("a", "c", "d")) == 2


_words = st.text(alphabet="ab #=[]{}.,'\"\\\n\t", max_size=12)
_values = st.recursive(
    st.integers() | st.booleans() | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=3),
    max_leaves=8,
)


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + escaped.replace("\n", "\\n").replace("\t", "\\t") + '"'
    if isinstance(value, list):
        return "[\n" + ",\n".join(map(_written, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_written(k)} = {_written(v)}" for k, v in value.items()) + "}"
    return str(value)


def _paths(value: object, at: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    inner: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return {at} - {()} | {path for key, item in inner for path in _paths(item, (*at, key))}


@given(st.dictionaries(_words, _values, max_size=4))
def test_every_key_of_any_file_is_found(values: dict[str, object]) -> None:
    text = "".join(f"{_written(key)} = {_written(value)} # end\n" for key, value in values.items())
    assert tomllib.loads(text) == values
    assert set(TomlLines(text).paths) == _paths(values)
