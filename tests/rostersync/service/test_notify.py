"""Notifications: each change of state is told once, with counts only, and never fails a sync."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from core.errors import CredentialsRefused, VendorFailure
from core.failpoints import at_failpoints
from core.storage.database import Database
from rostersync.service import channels, notify
from rostersync.service.channels import Severity
from sync.acts import pause
from sync.sources.health import resume_source
from tests.kit.command_line import Cli
from tests.kit.fixtures import NewTown
from tests.kit.school_year import Person, Town, classes, staff
from tests.kit.town import Town as FileTown
from tests.kit.town import child


class Box:
    """Collects what is sent."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []
        self.works = True

    def __call__(self, addresses: Sequence[str], title: str, body: str, severity: Severity) -> bool:
        if not self.works:
            raise OSError("the channel is down")
        self.messages.append((title, body))
        return True

    def take(self) -> list[str]:
        """Return the titles since the last time."""
        titles = [title.partition(": ")[2] for title, _ in self.messages]
        self.messages.clear()
        return titles


@pytest.fixture
def town(new_town: NewTown, monkeypatch: pytest.MonkeyPatch) -> Town:
    monkeypatch.setenv(notify.OPERATOR_VARIABLE, "json://nowhere.example")
    return filled(new_town(PAUSE))


PAUSE = '[[district.pause]]\nstart = "06-15"\nend = "08-10"\n'


def filled(town: Town) -> Town:
    town.vendor.join(*staff("s1", 12), *classes("s1", g06=20, g07=20, g08=20))
    town.sync("2026-05-04 05:00")
    return town


def told(town: Town, box: Box, at: str | None = None, **options: Any) -> list[str]:
    """Sync as the schedule does, tell, and return the titles."""
    if at is not None:
        town.sync(at, scheduled=True, **options)
    notify.tell(town.database, town.slug, town.clock(), box)
    return box.take()


def test_a_quiet_district_is_told_nothing(town: Town) -> None:
    box = Box()
    assert told(town, box, "2026-05-05 05:00") == []
    assert told(town, box, "2026-05-05 10:00") == []


def test_a_held_plan_is_told_once_and_again_only_when_a_new_limit_trips(town: Town) -> None:
    box = Box()
    town.vendor.leave(*(f"s1-g06-{n:04}" for n in range(8)))
    (title,) = told(town, box, "2026-05-05 05:00")
    assert title.endswith("waits for your approval")
    assert told(town, box, "2026-05-05 10:00") == []
    town.vendor.leave("s1-g06-0008")  # a new plan id, the same limit (P3)
    assert told(town, box, "2026-05-05 14:00") == []
    town.vendor.leave(*(f"s1-teacher-{n:03}" for n in range(5)))
    assert len(told(town, box, "2026-05-05 19:00")) == 1
    town.approve()
    assert told(town, box, "2026-05-06 05:00") == []
    town.vendor.leave(*(f"s1-g07-{n:04}" for n in range(8)))
    assert len(told(town, box, "2026-05-20 05:00")) == 1


def test_each_change_of_a_sources_health_is_told_once(town: Town) -> None:
    box = Box()
    town.vendor.fails = VendorFailure("The vendor is down.")
    said = {}
    for day in range(5, 16):
        for hour in ("05:00", "10:00", "14:00", "19:00"):
            for title in told(town, box, f"2026-05-{day:02} {hour}"):
                said[title] = said.get(title, 0) + 1
    assert said == {
        "sis could not be read completely": 1,
        "sis fails again and again": 1,
        "sis was stopped": 1,
        "sis gives no new data": 1,
    }
    town.vendor.fails = None
    resume_source(town.database, town.slug, "sis")
    assert sorted(told(town, box, "2026-05-16 05:00")) == [
        "sis gives data again",
        "sis is read again",
    ]
    assert told(town, box, "2026-05-16 10:00") == []


def test_refused_credentials_are_told_as_a_stop_at_once(town: Town) -> None:
    box = Box()
    town.vendor.fails = CredentialsRefused("The vendor refused the token.")
    assert told(town, box, "2026-05-05 05:00") == ["sis was stopped"]


def test_a_season_is_announced_the_day_before_and_only_once(town: Town) -> None:
    box = Box()
    town.sync("2026-06-13 05:00")
    assert told(town, box) == []
    town.sync("2026-06-14 05:00")
    assert told(town, box) == ["tomorrow: paused"]
    assert told(town, box, "2026-06-14 19:00") == []
    town.at("2026-06-15 05:00")
    assert told(town, box) == []
    town.at("2026-08-09 23:30")
    assert told(town, box) == []
    town.at("2026-08-10 00:30")
    assert told(town, box) == ["tomorrow: normal"]


def test_a_pause_by_hand_has_its_end_announced(town: Town) -> None:
    box = Box()
    town.at("2026-05-05 08:00")
    pause.pause_district(
        town.database, town.slug, until=date(2026, 5, 9), actor="ada", now=town.clock
    )
    assert told(town, box) == []
    town.at("2026-05-09 08:00")
    assert told(town, box) == ["tomorrow: normal"]


def test_the_rollover_report_is_told_once_for_each_return(town: Town) -> None:
    box = Box()
    town.vendor.roll_over()
    titles = told(town, box, "2026-08-11 05:00")
    assert titles == ["back from the pause"]
    assert told(town, box, "2026-08-11 10:00") == []


def test_a_late_vendor_is_told_and_then_the_report(town: Town) -> None:
    box = Box()
    town.vendor.leave("s1-teacher-000")
    assert told(town, box, "2026-08-11 05:00") == ["1 school still shows the old year"]
    assert told(town, box, "2026-08-12 05:00") == []
    town.vendor.roll_over()
    titles = told(town, box, "2026-08-13 05:00")
    assert titles[-1] == "back from the pause"
    assert len(titles) == 2  # the teacher is held


def test_entering_grace_past_a_limit_is_told_once(
    new_town: NewTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(notify.OPERATOR_VARIABLE, "json://nowhere.example")
    town, box = filled(new_town("grace = { days = 5, fetches = 2 }\n")), Box()
    town.vendor.leave(*(f"s1-teacher-{n:03}" for n in range(5)))
    assert told(town, box, "2026-05-05 05:00") == ["many people are about to leave"]
    assert told(town, box, "2026-05-05 10:00") == []


def test_no_message_holds_personal_data(town: Town) -> None:
    box = Box()
    town.vendor.leave(*(f"s1-g06-{n:04}" for n in range(8)))
    town.sync("2026-05-05 05:00")
    notify.tell(town.database, town.slug, town.clock(), box)
    ((title, body),) = box.messages
    for word in ("Family", "Sam", "@", "s1-g06"):
        assert word not in title + body
    assert "8 archive" in body
    assert "rostersync approve" in body


def test_a_failing_channel_fails_nothing_and_is_told_when_it_works_again(town: Town) -> None:
    box = Box()
    box.works = False
    town.vendor.leave(*(f"s1-g06-{n:04}" for n in range(8)))
    assert told(town, box, "2026-05-05 05:00") == []
    box.works = True
    assert len(told(town, box)) == 1
    assert told(town, box) == []


def test_a_person_who_returns_ends_the_held_plan_without_a_message(town: Town) -> None:
    box = Box()
    gone = [f"s1-g06-{n:04}" for n in range(8)]
    town.vendor.leave(*gone)
    assert len(told(town, box, "2026-05-05 05:00")) == 1
    town.vendor.join(*(Person(key, grade="06") for key in gone))
    assert told(town, box, "2026-05-05 10:00") == []
    assert town.standing is None


# -- a real webhook


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    heard: list[dict[str, Any]] = []
    over = threading.Event()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            if self.path.endswith("/drip"):
                self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                while not over.wait(0.2):
                    self.wfile.write(b"X-More: 1\r\n")
                return
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"json://127.0.0.1:{server.server_port}/hook", heard
    over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_that_drips_holds_up_neither_the_sync_nor_the_others(
    webhook: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, heard = webhook
    monkeypatch.setattr(channels, "SECONDS", 4.0)
    began = time.monotonic()
    assert channels.by_apprise([f"{url}/drip", url], "a title", "so", channels.Severity.INFO)
    assert time.monotonic() - began < 20
    assert len(heard) == 2


def test_the_districts_and_the_operators_webhook_hear_of_a_held_plan(
    new_town: NewTown, webhook: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, heard = webhook
    monkeypatch.setenv("SPRINGFIELD_NOTIFY_URL", f"{url}/district")
    monkeypatch.setenv(notify.OPERATOR_VARIABLE, f"{url}/operator json://127.0.0.1:1/dead")
    town = filled(new_town('notify = ["env:SPRINGFIELD_NOTIFY_URL", "env:NOT_SET"]\n'))
    town.vendor.leave(*(f"s1-g06-{n:04}" for n in range(8)))
    town.sync("2026-05-05 05:00")
    (message,) = notify.tell(town.database, town.slug, town.clock())
    assert message.topic == "held"
    assert len(heard) == 2
    assert {one["title"] for one in heard} == {message.title}
    assert notify.tell(town.database, town.slug, town.clock()) == []
    assert len(heard) == 2


def test_a_sync_by_hand_tells_what_it_found_without_a_service(
    cli: Cli,
    new_town: NewTown,
    webhook: tuple[str, list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, heard = webhook
    monkeypatch.setenv(notify.OPERATOR_VARIABLE, url)
    town = filled(new_town())
    town.vendor.fails = CredentialsRefused("The vendor refused the token.")
    for _ in range(2):
        assert cli("sync", town.slug).code == 14
    assert [one["title"] for one in heard].count(f"{town.slug}: sis was stopped") == 1


# -- killed on the way


class Killed(BaseException):
    """The program ends here."""


@pytest.mark.parametrize("where", ["notify.claimed", "notify.sent"])
def test_a_message_is_not_lost_when_the_program_is_killed_while_it_sends(
    town: Town, where: str
) -> None:
    def kill(place: str) -> None:
        if place == where:
            raise Killed

    box = Box()
    town.vendor.leave(*(f"s1-g06-{n:04}" for n in range(8)))
    town.sync("2026-05-05 05:00")
    with pytest.raises(Killed), at_failpoints(kill):
        notify.tell(town.database, town.slug, town.clock(), box)
    heard = box.take()
    assert len(heard) == (where == "notify.sent")
    town.at("2026-05-05 05:20")
    assert told(town, box) == []  # for all one knows somebody is still sending
    town.at("2026-05-05 05:31")
    (again,) = told(town, box)
    assert again.endswith("waits for your approval")
    town.at("2026-05-05 07:00")
    assert told(town, box) == []


class Weighed(Box):
    """Remembers how serious each message is."""

    def __init__(self) -> None:
        super().__init__()
        self.severities: list[str] = []

    def __call__(self, addresses: Sequence[str], title: str, body: str, severity: Severity) -> bool:
        self.severities.append(severity.value)
        return super().__call__(addresses, title, body, severity)


@pytest.mark.parametrize("failures", [1, 3])
def test_a_source_that_fails_is_told_as_a_failure_with_its_own_reason(
    town: Town, failures: int
) -> None:
    box = Weighed()
    town.vendor.fails = VendorFailure("users.csv is cut in the middle of line 17.")
    for hour in ("05:00", "10:00", "14:00")[:failures]:
        town.sync(f"2026-05-05 {hour}", scheduled=True)
    notify.tell(town.database, town.slug, town.clock(), box)
    _, body = box.messages[0]
    assert "users.csv is cut in the middle of line 17." in body
    assert box.severities[0] == "failure"
    assert set(box.severities[1:]) <= {"warning"}, "it gives no new data, either"
    box.severities.clear()
    town.vendor.fails = None
    town.sync("2026-05-06 05:00")
    notify.tell(town.database, town.slug, town.clock(), box)
    assert set(box.severities) == {"success"}


def test_a_webhook_gets_the_severity_as_its_type(
    town: Town, webhook: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, heard = webhook
    monkeypatch.setenv(notify.OPERATOR_VARIABLE, url)
    town.vendor.fails = VendorFailure("users.csv is cut in the middle of line 17.")
    town.sync("2026-05-05 05:00", scheduled=True)
    notify.tell(town.database, town.slug, town.clock())
    (message,) = heard
    assert message["type"] == "failure"
    assert "cut in the middle of line 17" in message["message"]


def test_a_webhook_of_a_broken_file_says_that_it_is_an_error_and_why(
    database: Database,
    tmp_path: Path,
    webhook: tuple[str, list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, heard = webhook
    monkeypatch.setenv(notify.OPERATOR_VARIABLE, url)
    town = FileTown(database, tmp_path)
    town.write(child(number) for number in range(9))
    town.sync(expect="applied")
    users = town.folder / "sis" / "users.csv"
    users.write_text(users.read_text()[:-20])
    town.sync(expect="incomplete")
    notify.tell(database, town.slug, town.clock())
    (message,) = heard
    assert message["type"] == "failure"
    assert "users.csv" in message["message"]
    assert "the reason: incomplete" not in message["message"]
