"""New in two sources at once, numbers of another scheme, claims that only together are wrong."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.storage.database import Database
from sync.acts.vendor_switch import switch_source
from sync.ledger.chain import verify
from sync.people import matching
from sync.people.conflicts import resolve
from sync.sources.district_load import load_district_file
from tests.kit.sizes import examples
from tests.kit.town import P, Town, child


def two(database: Database, folder: Path, *sources: str) -> Town:
    return Town(database, folder, sources or ("sis", "other"))


def evidence(conflict: Any) -> dict[str, list[str]]:
    said = conflict.candidates
    decoded = msgspec.json.decode(said) if isinstance(said, str) else said
    return {one["id"]: one["evidence"] for one in decoded}


def whose(town: Town, *sources: str) -> dict[str, str | None]:
    """Return source:key → the user, None for a record that nobody is linked to."""
    rows = town.ask(
        "SELECT s.name, r.external_id, l.target_id FROM records r JOIN sources s"
        " ON s.id = r.source_id LEFT JOIN links l ON l.record_id = r.id"
        " WHERE s.district_id = :d AND r.kind = 'user'"
    )
    return {f"{row.name}:{row.external_id}": row.target_id for row in rows}


# -- new in several sources in one run (5)


def test_somebody_new_in_three_sources_at_once_is_one_user(
    database: Database, tmp_path: Path
) -> None:
    town = two(database, tmp_path, "sis", "other", "third")
    town.write([child(1, ident=""), child(2)])
    town.write([child(1, key="o1")], "other")  # by address and names
    town.write([child(1, key="t1", email="", given="G.")], "third")  # by the number of the second
    town.sync(expect="applied")
    users = whose(town)
    assert users["sis:k1"] == users["other:o1"] == users["third:t1"]
    assert len(town.users()) == 2
    assert town.sync().status == "nothing_to_do"
    assert verify(database, town.slug)["intact"]


def test_somebody_new_who_matches_two_who_are_new_is_asked_about(
    database: Database, tmp_path: Path
) -> None:
    town = two(database, tmp_path)
    town.write([child(1), child(2)])
    town.write([child(1, key="o1", ident="I2")], "other")  # the number of one, the rest of another
    town.sync(expect="applied")
    assert len(town.users()) == 2
    assert whose(town)["other:o1"] is None
    (conflict,) = town.conflicts()
    assert conflict.reason == "several_candidates"
    assert evidence(conflict).keys() == {user.id for user in town.users()}


def test_twins_with_one_address_who_are_new_in_both_are_two_users(
    database: Database, tmp_path: Path
) -> None:
    town = two(database, tmp_path)
    twins = [child(n, family="Twin", email="twins@mail.example") for n in (1, 2)]
    town.write(twins)
    town.write([twin._replace(key=f"o{twin.key}") for twin in twins], "other")
    town.sync(expect="applied")
    users = whose(town)
    assert users["sis:k1"] == users["other:ok1"] != users["sis:k2"] == users["other:ok2"]
    assert (len(town.users()), town.conflicts()) == (2, [])


def test_two_of_one_source_are_never_joined_to_one_who_is_new(
    database: Database, tmp_path: Path
) -> None:
    town = two(database, tmp_path)
    town.write([child(1)])
    town.write([child(1, key="o1", email=""), child(1, key="o2", ident="")], "other")
    town.sync(expect="applied")
    users = whose(town)
    assert users["other:o1"] == users["sis:k1"], "a number is more than an address"
    assert users["other:o2"] is None
    (conflict,) = town.conflicts()
    assert "other_id_in_source" in evidence(conflict)[users["sis:k1"] or ""]


def test_whoever_matches_somebody_in_conflict_waits_for_the_decision(
    database: Database, tmp_path: Path
) -> None:
    town = two(database, tmp_path, "sis", "other", "third")
    town.write([child(1, ident="")])
    town.write([child(1, key="o1", given="Else")], "other")  # the address of another
    town.write([child(1, key="t1", given="Else", email="")], "third")  # the second's number
    town.sync(expect="applied")
    assert len(town.users()) == 1
    (conflict,) = town.conflicts()
    resolve(database, conflict.id, link=None, new=True, actor="x", now=town.clock)
    town.sync(expect="applied")
    users = whose(town)
    assert users["other:o1"] == users["third:t1"] != users["sis:k1"]


_PERSON = st.builds(
    lambda who, ident, email, name: (who, ident, email, name),
    st.integers(0, 4), st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
_ROSTERS = st.tuples(*(st.lists(_PERSON, max_size=5, unique_by=lambda p: p[0]) for _ in range(3)))


def rows(roster: list[tuple[int, bool, bool, bool]], letter: str) -> list[P]:
    """Return people who say more or less of who they are; without a name they bear another's."""
    return [
        child(who, key=f"{letter}{who}", **(
            ({} if ident else {"ident": ""})
            | ({} if email else {"email": ""})
            | ({} if name else {"given": "Else", "family": "Where"})
        ))
        for who, ident, email, name in roster
    ]  # fmt: skip


@settings(max_examples=examples(5, long=100))
@given(rosters=_ROSTERS, seed=st.integers(0, 3), batch=st.sampled_from([1, 2, 1000]))
def test_who_joins_with_whom_depends_on_no_order_and_is_what_runs_one_by_one_find(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    database: Database,
    rosters: tuple[list[tuple[int, bool, bool, bool]], ...],
    seed: int,
    batch: int,
) -> None:
    if not database.is_sqlite and batch != 2:
        return  # one cut is enough on the second store
    folder = tmp_path_factory.mktemp("towns")
    names = ("sis", "other", "third")
    found = []
    for together in (True, False):
        town = two(database, folder, *names)
        for name, roster in zip(names, rosters, strict=True):
            people = rows(roster, name[0])
            random.Random(seed if together else 9).shuffle(people)
            town.write([*people, child(90, key=f"{name[0]}90")], name)
        with monkeypatch.context() as patch:
            patch.setattr(matching, "BATCH", batch if together else 1000)
            if together:
                town.sync()
                assert town.sync().status == "nothing_to_do"
            else:
                again = names[1:]  # those who waited for a later source
                for name in (*names, *again):
                    town.sync(name)
        users: dict[str, set[str]] = {}
        alone = set()
        for key, user in whose(town).items():
            if user is None:
                alone.add(key)
            else:
                users.setdefault(user, set()).add(key)
        found.append((frozenset(map(frozenset, users.values())), frozenset(alone)))
        for keys in users.values():  # no two who differ in a number, no two of one source
            sources = [key.partition(":")[0] for key in keys]
            assert len(sources) == len(set(sources))
            people_of = {key.partition(":")[2][1:] for key in keys}
            assert len(people_of) == 1, "nothing here joins two people"
    assert found[0] == found[1], "one run finds what three find; no order or page counts"


# -- claims that only together are wrong


def test_twins_whose_numbers_were_swapped_are_asked_about_even_without_an_address(
    database: Database, tmp_path: Path
) -> None:
    town = two(database, tmp_path, "sis", "next")
    twins = [child(n, family="Twin", email="") for n in (1, 2)]
    town.write([*twins, *(child(n) for n in range(3, 30))])
    town.sync("sis")
    swapped = [
        twins[0]._replace(key="n1", ident="I2"), twins[1]._replace(key="n2", ident="I1")
    ]  # fmt: skip
    town.write([*swapped, *(child(n, key=f"n{n}") for n in range(3, 30))], "next")
    town.tick()
    planned = switch_source(database, town.slug, "sis", "next", actor="x", now=town.clock)
    assert (planned.report or {})["weak"] == 2
    assert {row.external_id for row in town.conflicts()} == {"n1", "n2"}
    for conflict in town.conflicts():
        ((_, slugs),) = evidence(conflict).items()
        assert {"same_student_number", "names_differ", "names_of_another"} <= set(slugs)


def test_a_new_given_name_alone_is_no_swap(database: Database, tmp_path: Path) -> None:
    town = two(database, tmp_path, "sis", "next")
    town.write([child(n, email="") for n in range(10)])
    town.sync("sis")
    town.write([child(n, email="", key=f"n{n}", given=f"Nick{n}") for n in range(10)], "next")
    town.sync("next", expect="applied")
    assert (len(town.users()), town.conflicts()) == (10, [])


def test_the_numbers_of_students_and_of_adults_are_two_series(
    database: Database, tmp_path: Path
) -> None:
    town = two(database, tmp_path, "sis", "next")
    both = [child(n, role=role, key=f"{role}{n}", given=role)
            for n in range(5) for role in ("student", "teacher")]  # fmt: skip
    town.write([one._replace(email="") for one in both])
    town.sync("sis")
    town.write([one._replace(email="", key=f"n{one.key}") for one in both], "next")
    town.sync("next", expect="applied")
    assert (len(town.users()), town.conflicts()) == (10, [])


# -- by the name alone: asked about in a switch, so that nobody is doubled and lost at once


def test_c23_whom_only_the_name_tells_is_asked_about_and_stays(
    database: Database, tmp_path: Path
) -> None:
    town = two(database, tmp_path, "sis", "next")
    town.write([child(n) for n in range(30)])
    town.sync("sis")
    known = town.user("k3").id
    nothing = child(3, key="n3", ident="", email="")
    town.write([*(child(n, key=f"n{n}") for n in range(30) if n != 3), nothing], "next")
    town.tick()
    planned = switch_source(database, town.slug, "sis", "next", actor="x", now=town.clock)
    report = planned.report or {}
    assert (report["matched"], report["weak"], report["lost"], report["new"]) == (29, 1, 0, 0)
    (conflict,) = town.conflicts()
    assert (conflict.reason, evidence(conflict)) == ("resembles_lost", {known: ["names_agree"]})
    town.apply(planned)
    assert town.sync("next").status == "nothing_to_do", "and it stays a question"
    assert len(town.users("active")) == 30
    assert [row.id for row in town.conflicts()] == [conflict.id]
    resolve(database, conflict.id, link=known, new=False, actor="x", now=town.clock)
    town.sync("next", expect="applied")
    assert town.user("n3", "next").id == known
    assert len(town.users()) == 30


def test_c23_whom_only_the_name_tells_may_be_somebody_new(
    database: Database, tmp_path: Path
) -> None:
    town = two(database, tmp_path, "sis", "next")
    town.write([child(n) for n in range(30)])
    town.sync("sis")
    other = child(3, key="n3", ident="I99", email="else@a.example")
    town.write([*(child(n, key=f"n{n}") for n in range(30) if n != 3), other], "next")
    town.tick()
    town.apply(switch_source(database, town.slug, "sis", "next", actor="x", now=town.clock))
    (conflict,) = town.conflicts()
    resolve(database, conflict.id, link=None, new=True, actor="x", now=town.clock)
    town.sync("next", expect="applied")
    assert town.user("n3", "next").id != town.user("k3").id


# -- numbers of another scheme


def own(town: Town, source: str, numbers: str) -> None:
    """Say in the district file that these numbers are a source's own."""
    file = town.folder / "district.toml"
    head, name, tail = file.read_text().partition(f'name = "{source}"\n')
    file.write_text(f"{head}{name}own_numbers = {numbers}\n{tail}")
    load_district_file(town.database, file)


def test_c23_numbers_of_another_scheme_are_noticed_and_left_out_by_one_decision(
    database: Database, tmp_path: Path
) -> None:
    town = two(database, tmp_path, "sis", "next")
    town.write([child(n) for n in range(40)])
    town.sync("sis")
    ids = {n: town.user(f"k{n}").id for n in range(40)}
    town.write([child(n, key=f"n{n}", ident=f"X{n}") for n in range(40)], "next")
    town.tick()
    planned = switch_source(database, town.slug, "sis", "next", actor="x", now=town.clock)
    report = planned.report or {}
    assert (report["matched"], report["weak"]) == (0, 40)
    assert report["numbers"] == [{"number": "student_number", "differ": 40, "agree": 0}]
    own(town, "next", '["student_number"]')
    town.tick()
    planned = switch_source(database, town.slug, "sis", "next", actor="x", now=town.clock)
    report = planned.report or {}
    assert (report["matched"], report["weak"], report["numbers"]) == (40, 0, [])
    assert report["own_numbers"] == ["student_number"]
    town.apply(planned)
    assert {n: town.user(f"n{n}", "next").id for n in range(40)} == ids
    assert town.user("n3", "next").student_number == "X3"
    town.sync()
    assert town.conflicts() == []


def test_an_own_number_neither_joins_nor_parts_people_of_two_sources(
    database: Database, tmp_path: Path
) -> None:
    town = two(database, tmp_path)
    own(town, "other", '["student_number"]')
    town.write([child(1), child(2)])
    town.write([child(1, key="o1", ident="I2", email=""), child(2, key="o2", ident="I9")], "other")
    town.sync(expect="applied")
    users = whose(town)
    assert users["other:o1"] not in (users["sis:k1"], users["sis:k2"])
    assert users["other:o2"] == users["sis:k2"]
    assert town.conflicts() == []


def test_an_own_number_still_tells_within_its_source_who_got_another_id(
    database: Database, tmp_path: Path
) -> None:
    town = Town(database, tmp_path)
    own(town, "sis", '["student_number"]')
    town.write([child(n) for n in range(12)])
    town.sync()
    before = town.user("k3").id
    moved = child(3, key="other", email="else@a.example")
    town.write([*(child(n) for n in range(12) if n != 3), moved])
    town.sync(expect="applied")
    assert town.user("other").id == before
    assert len(town.users()) == 12


def test_a_number_that_does_not_exist_cannot_be_own(database: Database, tmp_path: Path) -> None:
    town = Town(database, tmp_path)
    with pytest.raises(Exception, match="is not a number"):
        own(town, "sis", '["email"]')
