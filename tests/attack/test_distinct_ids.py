"""A server that repeats one person hides another: totals are held against distinct ids (F11)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.storage.database import Database
from tests.attack.conftest import Attack
from tests.attack.hostile import DIALECTS, TOTALS, Answer, Asked
from tests.kit.sizes import examples

MANY = 24


@st.composite
def repeats(draw: st.DrawFn) -> dict[int, int]:
    """Return position → the position of the person who is served there instead."""
    hidden = draw(st.lists(st.integers(0, MANY - 1), min_size=1, max_size=4, unique=True))
    left = [number for number in range(MANY) if number not in hidden]
    return {at: draw(st.sampled_from(left)) for at in hidden}


def repeating(where: dict[int, int]) -> Any:
    """Return a list in which some people stand in the places of others."""
    return lambda listed: [listed[where.get(at, at)] for at in range(len(listed))]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_whoever_a_repeated_record_hides_does_not_leave(attack: Attack, dialect: str) -> None:
    attacked = attack(dialect, count=MANY)
    attacked.sync(code=0)

    @given(where=repeats())
    @settings(max_examples=examples(8, long=200))
    def prove(where: dict[int, int]) -> None:
        attacked.vendor.listed = repeating(where)
        outcome = attacked.sync()
        assert (outcome.status, outcome.exit_code) == ("partial", 12)
        attacked.spared()
        attacked.vendor.listed = lambda listed: listed
        attacked.sync(code=0)
        attacked.spared()

    prove()


def test_the_same_on_every_store(database: Database, attack_on: Any) -> None:
    attacked = attack_on(database, "classlink", count=MANY)
    attacked.sync(code=0)
    attacked.vendor.listed = repeating({12: 3, 15: 4, 18: 5})
    outcome = attacked.sync()
    assert (outcome.status, outcome.exit_code) == ("partial", 12)
    attacked.spared()
    assert "3" in str(outcome.certificates["sis"]["reason"])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_first_reading_with_repeated_records_is_not_whole(attack: Attack, dialect: str) -> None:
    """A person who is hidden on the first day has no id by which to ask."""
    attacked = attack(dialect, count=MANY)
    attacked.vendor.listed = repeating({12: 3, 15: 4})
    outcome = attacked.sync()
    assert (outcome.status, outcome.exit_code) == ("partial", 12)
    assert attacked.world.count() == MANY - 2 + 1, "people whose records are complete may join (F1)"
    attacked.vendor.listed = lambda listed: listed
    attacked.sync(code=0)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_whoever_has_really_left_leaves_though_a_record_is_repeated(
    attack: Attack, dialect: str
) -> None:
    """The missing can be asked for by id: each says that it is gone."""
    attacked = attack(dialect, count=MANY)
    attacked.sync(code=0)
    gone = attacked.vendor.people.pop(5)["id"]
    attacked.vendor.listed = lambda listed: [*listed[:11], listed[0], *listed[11:]]
    outcome = attacked.sync()
    assert outcome.exit_code == 0, (outcome, outcome.error)
    assert attacked.world.statuses()[gone] == "archived"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_server_that_knows_nobody_by_id_is_not_believed(attack: Attack, dialect: str) -> None:
    """One that answers 404 for people whom it has just served proves nothing by it."""
    attacked = attack(dialect, count=MANY)
    attacked.sync(code=0)
    attacked.vendor.answers_by_id = False
    attacked.vendor.listed = repeating({12: 3})
    outcome = attacked.sync()
    assert (outcome.status, outcome.exit_code) == ("partial", 12)
    attacked.spared()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_failure_while_the_missing_are_asked_for_is_no_proof(
    attack: Attack, dialect: str
) -> None:
    attacked = attack(dialect, count=MANY)
    attacked.sync(code=0)
    attacked.vendor.listed = repeating({12: 3})
    attacked.vendor.spoil = lambda asked, answer: Answer(500) if asked.what == "user" else answer
    outcome = attacked.sync()
    assert (outcome.status, outcome.exit_code) == ("partial", 12)
    attacked.spared()


@pytest.mark.parametrize("dialect", sorted(TOTALS))
def test_a_total_that_shrinks_while_one_reads_archives_nobody(attack: Attack, dialect: str) -> None:
    """From a later page on the server declares fewer people, and serves so many fewer."""
    attacked = attack(dialect, count=MANY)
    attacked.sync(code=0)

    @given(lost=st.integers(1, 8), page=st.integers(2, 3))
    @settings(max_examples=examples(4, long=60))
    def prove(lost: int, page: int) -> None:
        def shrink(asked: Asked, answer: Answer) -> Answer:
            if asked.what == "users":
                answer.add("X-Total-Count", str(MANY - lost if asked.page >= page else MANY))
            return answer

        attacked.vendor.spoil = shrink
        attacked.vendor.listed = lambda there: there[:-lost]
        assert attacked.sync().exit_code == 12
        attacked.spared()

    prove()
