"""Steps in the log: what they say, and that no text of a person's can get into one."""

from __future__ import annotations

import logging
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.steps import TEXTS, log_of, note, step


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> logging.Logger:
    caplog.set_level(logging.DEBUG, "rostersync")
    return log_of("sync.reading.stream")


def test_a_step_says_what_was_done_with_counts_and_milliseconds(
    log: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    with step(log, "read source", source="sis") as done:
        done.tell(pages=3, records=2000)
    (record,) = caplog.records
    assert record.name == "rostersync.sync.reading"
    assert record.getMessage().startswith("read source source=sis pages=3 records=2000 ms=")
    assert record.__dict__["facts"]["records"] == 2000


def test_a_step_that_fails_says_the_class_of_the_error_and_not_its_message(
    log: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyError), step(log, "read source", source="sis"):
        raise KeyError("ada@x.example")
    assert "error=KeyError" in caplog.text
    assert "ada@" not in caplog.text


def test_a_fact_that_is_not_known_is_not_shown(
    log: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    note(log, "planned", held=None, changes=0)
    assert caplog.records[0].getMessage() == "planned changes=0"


def test_nothing_is_logged_unless_somebody_asked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rostersync")
    with step(log_of("sync.reading.stream"), "read source"):
        note(log_of("sync.reading.stream"), "read page")
    assert caplog.records == []


@pytest.mark.parametrize(
    ("module", "room"),
    [
        ("sync.engine", "rostersync.sync"),
        ("sync.planning.plan", "rostersync.sync.planning"),
        ("rostersync.cli.door", "rostersync.cli"),
        ("core.errors", "rostersync.core"),
        ("core.storage.database", "rostersync.core.storage"),
        ("rostersync._sync.reading.stream", "rostersync.sync.reading"),
        ("rostersync", "rostersync"),
    ],
)
def test_each_room_has_one_logger(module: str, room: str) -> None:
    assert log_of(module).name == room


NAMES = st.from_regex(r"[a-z_]{1,12}", fullmatch=True).filter(lambda name: name not in TEXTS)


@given(NAMES, st.text(min_size=1))
def test_text_under_any_other_name_never_reaches_the_log(name: str, text: str) -> None:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(repr(record.__dict__))  # type: ignore[method-assign]
    log = logging.getLogger("rostersync.of-a-test")
    log.setLevel(logging.DEBUG)
    log.addHandler(handler)
    try:
        note(log, "done", **{name: f"<{text}>"})
    finally:
        log.removeHandler(handler)
    assert f"<{text}>" not in lines[0]
    assert "(left out)" in lines[0]


@given(st.sampled_from(sorted(TEXTS)), st.text(string.printable, min_size=1))
def test_a_text_fact_is_one_word_so_no_full_name_and_no_address(name: str, text: str) -> None:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("rostersync.of-a-test")
    log.setLevel(logging.DEBUG)
    log.addHandler(handler)
    try:
        note(log, "done", **{name: f"{text} {text}"})
        note(log, "done", **{name: f"{text}@x.example"})
    finally:
        log.removeHandler(handler)
    assert lines == [f"done {name}=(left out)"] * 2
