"""Fields that nobody reads and words that nobody understands are tolerated, counted and told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connectors.clever import records as clever_records
from connectors.oneroster_standard import records as oneroster_records
from core.storage.database import Database
from rostersync.cli.printing.outcomes import met_sentence
from rostersync.emulator import District
from rostersync.emulator.vendors import oneroster_service
from tests.kit.vendor_world import at_vendor


def raw(**record: Any) -> bytes:
    return json.dumps(record).encode()


def test_a_field_that_nothing_reads_is_named_and_its_value_is_not() -> None:
    record = oneroster_records.parse_user(
        raw(
            sourcedId="1", role="student", givenName="R", orgs=[], nickname="Robin", agents=[],
            password="x",
        ),
        (),
    )  # fmt: skip
    assert record.extra == ("nickname",)
    assert "Robin" not in repr(record.extra)
    school = oneroster_records.parse_school(
        raw(sourcedId="1", type="school", name="L", colour="red")
    )
    assert school.extra == ("colour",)


def test_what_clever_documents_is_no_extra_field() -> None:
    data = raw(
        id="1", name={"last": "R"}, created="x", district="d", roles={"student": {}}, house="Red",
        **{"4711": 1},
    )  # fmt: skip
    assert clever_records.parse_user(data).extra == ("house", "other")
    assert clever_records.parse_school(raw(id="1", name="L", phone="1")).extra == ()


def test_a_vendor_with_a_field_of_its_own_is_read_whole_and_the_field_is_counted_once(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = oneroster_service.user_record

    def with_a_nickname(*about: Any) -> dict[str, Any]:
        return real(*about) | {"nickname": "Robin", "enabledUser": "perhaps"}

    monkeypatch.setattr(oneroster_service, "user_record", with_a_nickname)
    with at_vendor(store, District(seed=3, users=20, schools=1), "oneroster12") as world:
        certificate = world.sync(code=0).certificates["sis"]
        people = certificate["extra"]["nickname"]
        assert people >= 20
        assert certificate["extra"] == {"nickname": people}
        assert certificate["unknown"] == {"enabledUser=perhaps": people}
        assert met_sentence(certificate) == (
            f"In new or changed rows: words not understood: enabledUser: perhaps ({people});"
            f" fields not read: nickname ({people})."
        )
        again = world.sync(code=0).certificates["sis"]
        assert met_sentence(again) == "", "nothing was parsed, so nothing was met"
