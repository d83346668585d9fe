"""Focus: the state machine with a few of its rules, in which one guard is soon missed.

Each focus walks at random among its few rules, over the few edits that it names, from a story that
has begun already. The oracles are those of the whole machine. A focus without a mutant must pass.

One file, because it is one list: a focus for each guard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RULE_MARKER

from tests.sync.machine.machine import Engine
from tests.sync.machine.machine_rosters import grades

NOTHING = st.just([])
LINCOLN = [f"s{number}" for number in range(7)]
TEACHERS = ["t0", "t1", "t2"]
BOTH = {"sis": "board", "second": "board_file"}
PAT = "pat@springfield.example"


class Focus(Engine):
    """The machine without its rules, but for those that ``kept`` names."""

    kept: ClassVar[tuple[str, ...]] = ()
    """The rules that stay."""
    edits_made: ClassVar[Any] = NOTHING
    rostered: ClassVar[dict[str, str]] = {"sis": "board"}
    verified: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in dir(Engine):
            if hasattr(getattr(Engine, name), RULE_MARKER):
                setattr(cls, name, getattr(Engine, name) if name in cls.kept else None)

    def everything_approved(self) -> None:
        """Leave the end to the whole machine."""

    def synced(self) -> None:
        """Run a sync of everything, before the story begins."""
        self.the_rules_hold()
        self.run("sync", "whole", "whole")
        self.the_rules_hold()


def leave(keys: list[str], least: int = 1, most: int = 3) -> st.SearchStrategy[Any]:
    """Take some of these people off the roster."""
    some = st.lists(st.sampled_from(keys), min_size=least, max_size=most, unique=True)
    return st.tuples(st.tuples(st.just("people_are_taken_off"), some)).map(list)


def written(keys: list[str], roles: list[str], email: str | None = None) -> st.SearchStrategy[Any]:
    """Write the row of one of these people, in one of these roles."""
    return st.tuples(
        st.tuples(
            st.just("a_row_is_written"), st.sampled_from(keys), st.sampled_from(roles),
            st.just("lincoln"), st.just("Own"), st.just(email), grades, st.just(True), st.none(),
        )
    ).map(list)  # fmt: skip


class Protected(Focus):
    """Some of those who leave are protected."""

    kept = ("sync_whole",)
    edits_made = leave(["s0", "s1", "s2", "s3"])

    def it_goes_on(self) -> None:
        for key in ("s0", "s1", "s2"):
            self.world.protect(self.world.user(key)["id"])


class Kept(Focus):
    """Admins have archived some, to stay so: for two days, or without end."""

    kept = ("sync_whole", "time_passes")
    edits_made = written(["s0", "s1"], ["student"])

    def it_goes_on(self) -> None:
        self.somebody_is(self.world.user("s0")["id"], "keep")
        self.somebody_is(self.world.user("s1")["id"], "keep until")


class Locked(Focus):
    """Fields are locked, and sources say otherwise."""

    kept = ("sync_whole",)
    edits_made = written(["s0", "s1"], ["student", "staff"])

    def it_goes_on(self) -> None:
        self.world.lock(self.world.user("s0")["id"], "grade")
        self.world.lock(self.world.user("s1")["id"], "role")


class Grace(Focus):
    """The district gives grace: two days, and three readings."""

    kept = ("sync_whole", "time_passes")
    edits_made = leave(["s1", "s2", "s3"])

    def it_goes_on(self) -> None:
        self.world.settle(grace={"days": 2, "fetches": 3})
        self.world.sis.without("s0")
        self.synced()
        self.world.later(days=3)


class Conflict(Focus):
    """Somebody is named in an open conflict."""

    kept = ("sync_whole",)
    edits_made = leave(["s0", "s1"])

    def it_begins(self) -> None:
        self.world.sis.student("s0", email=PAT, given_name="Pat")

    def it_goes_on(self) -> None:
        self.world.sis.teacher("t3", email=PAT, given_name="Pat")
        self.synced()


class Readings(Focus):
    """Somebody leaves, and the readings are not whole, or prove nothing."""

    kept = ("sync",)
    edits_made = leave(["s0", "s1", "s2"], most=1)
    ways_read = st.sampled_from(
        ["cut", "says_so", "short", "empty", "left_out", "another_district", "troubled", "header"]
    )


class Torn(Focus):
    """Rows cannot be read, or their keys cannot."""

    kept = ("sync_whole",)
    edits_made = st.tuples(
        st.tuples(
            st.just("a_row_is_torn_or_mended"), st.sampled_from(["s0", "s1", "s2"]),
            st.sampled_from(["broken", "keyless"]), st.sampled_from([True, True, False]),
        )
    ).map(list)  # fmt: skip


class Unread(Focus):
    """Somebody was gone, in grace, and changes roles; then the source is not read completely."""

    kept = ("sync",)
    edits_made = written(["t0", "t1"], ["staff"])
    ways_read = st.sampled_from(["says_so", "at_end", "whole"])

    def it_goes_on(self) -> None:
        self.world.settle(grace={"days": 2, "fetches": 1})
        self.world.sis.without("s0")
        self.synced()
        self.world.later(days=3)


class HalfAFile(Focus):
    """The file has none of a role, or is not read completely."""

    kept = ("sync",)
    rostered = BOTH
    ways_read = st.just("whole")
    second_ways_read = st.sampled_from(["whole", "says_so"])
    edits_made = st.tuples(
        st.tuples(st.just("a_role_is_taken_off_the_file"), st.sampled_from(["admin", "staff"]))
    ).map(list)

    def it_goes_on(self) -> None:
        self.world.edit(self.world.user("x0", "second")["id"], given_name="Kim")


class OnePerson(Focus):
    """Two entries of one person; one of them goes."""

    kept = ("sync_whole",)
    edits_made = leave(["p0", "p1"], most=1)

    def it_begins(self) -> None:
        self.world.sis.person("p0", "teacher", person_key="master:1")
        self.world.sis.person("p1", "staff", person_key="master:1")


class Many(Focus):
    """Many of one school and role leave at once."""

    kept = ("sync_whole",)
    edits_made = st.one_of(leave(LINCOLN, 4, 6), leave(TEACHERS, 2, 2))


class Spoilt(Focus):
    """The vendor does the same to everybody of its roster at once, or to one half and the other."""

    kept = ("the_vendor_spoils_its_roster", "time_passes")
    spoilers = st.sampled_from(["blanked", "renamed", "moved", "outside_domains"])

    def it_begins(self) -> None:
        self.world.settle(email_domains=["springfield.example"])
        for number, row in enumerate(self.world.sis.people.values()):
            row["fields"] |= {"given_name": f"Given{number}", "grade": "05"}
            row["fields"]["email"] = f"p{number}@springfield.example"


class Emptied(Spoilt):
    """It empties a field of everybody, or of one half and the other."""

    spoilers = st.just("blanked")


class Renamed(Spoilt):
    """It gives everybody other names, or one half and the other."""

    spoilers = st.just("renamed")


class Elsewhere(Spoilt):
    """It gives everybody an address elsewhere, or one half and the other."""

    spoilers = st.just("outside_domains")


class AtOtherSchools(Spoilt):
    """It has everybody at another school, or one half and the other."""

    spoilers = st.just("moved")


class Reused(Focus):
    """The vendor names everybody anew, or one half, and people say whose the ids are (I13)."""

    kept = ("the_vendor_spoils_its_roster", "a_conflict_is_decided", "sync_whole")
    spoilers = st.just("renamed")


class Answered(Reused):
    """An answer is given, and before a run acts on it the vendor says again what it said before."""

    kept = ("sync_whole", "a_conflict_is_decided")
    edits_made = st.just(
        [("a_row_is_written", "s1", "student", "lincoln", "Own", None, "05", True, None)]
    )

    def it_goes_on(self) -> None:
        self.everybody_is_spoilt("renamed", 1)
        self.synced()
        for conflict, *_ in self.world.conflicts():
            self.world.resolve(conflict, new=True)
        for row in self.world.sis.people.values():
            row["fields"]["given_name"] = "Sam"


class AFew(Focus):
    """A few leave, and then a few more."""

    kept = ("sync_whole", "time_passes")
    edits_made = leave(LINCOLN, 2, 3)


class Teachers(Focus):
    """Four teachers since more than a week, of whom one after the other leaves."""

    kept = ("sync_whole",)
    edits_made = leave([*TEACHERS, "t3"], 1, 1)

    def it_begins(self) -> None:
        self.world.sis.teacher("t3")

    def it_goes_on(self) -> None:
        self.world.later(days=8)


class Crowd(Focus):
    """Sixty people join."""

    kept = ("a_crowd_joins", "time_passes")
    crowds = True


class Ours(Focus):
    """We read the source differently."""

    kept = ("sync_whole", "the_mapping_is_changed")


class Narrowed(Focus):
    """The source is asked for some of its roles only; its one teacher is of no such role."""

    kept = ("sync_whole", "the_source_is_narrowed_or_widened")

    def it_begins(self) -> None:
        self.world.sis.without("t1", "t2")

    def it_goes_on(self) -> None:
        self.world.reconfigure(roles=["student"])


class Replaced(Focus):
    """Somebody leaves, and somebody comes who is like them."""

    kept = ("sync_whole",)
    edits_made = st.tuples(
        st.tuples(
            st.just("somebody_has_another_key"), st.sampled_from(["s0", "s1", "s2"]),
            st.sampled_from(["names", "local part", "both"]),
        )
    ).map(list)  # fmt: skip

    def it_begins(self) -> None:
        for key in ("s0", "s1", "s2"):
            self.world.sis.student(key, email=f"{key}@a.example")


class Held(Focus):
    """A plan is held, and people do this and that about it."""

    def it_goes_on(self) -> None:
        self.world.sis.without(*LINCOLN, "t0", "t1")
        self.synced()
        assert self.world.standing() is not None


class Edited(Held):
    """The people of a held plan are edited."""

    kept = ("somebody_is_edited_by_hand", "the_standing_plan_is_approved")
    acts = st.just("edit")

    def it_goes_on(self) -> None:
        super().it_goes_on()
        self.attempt(lambda: self.somebody_is(self.world.user("s0")["id"], "edit"))


class Sealed(Held):
    """Plans are written to by another door, and applied without being approved."""

    kept = ("a_plan_is_tampered_with", "a_plan_is_applied")


class Late(Held):
    """More than a week passes before somebody approves a held plan."""

    kept = ("time_passes", "the_standing_plan_is_approved")

    def it_goes_on(self) -> None:
        super().it_goes_on()
        self.world.later(days=8)


class Paused(Held):
    """The district is paused while a plan is held."""

    kept = ("sync_whole", "the_district_is_resumed", "the_standing_plan_is_approved")

    def it_goes_on(self) -> None:
        super().it_goes_on()
        self.pause()


class Rejected(Held):
    """A held plan was rejected."""

    kept = ("sync_whole",)
    edits_made = written(["t0"], ["teacher"])

    def it_goes_on(self) -> None:
        super().it_goes_on()
        self.attempt(lambda: self.world.reject(self.world.standing() or 0))


class Overtaken(Held):
    """A held plan was overtaken by another."""

    kept = ("a_plan_is_approved",)

    def it_goes_on(self) -> None:
        super().it_goes_on()
        self.world.sis.without("s7")
        self.synced()


class Back(Focus):
    """A plan that archives somebody was made dry, and then they are back."""

    kept = ("time_passes", "a_plan_is_applied")

    def it_goes_on(self) -> None:
        self.planned(lambda: self.world.sis.without("s0"))
        self.planned(lambda: self.world.sis.student("s0", grade="05"))

    def planned(self, edit: Callable[[], object]) -> None:
        """Make a plan of an edit, and do not apply it."""
        edit()
        self.the_rules_hold()
        self.run("plan", "whole", None)
        self.the_rules_hold()


class Newcomer(Back):
    """A plan that takes somebody in was made dry, and then their row says something else."""

    def it_goes_on(self) -> None:
        self.planned(lambda: self.world.sis.teacher("t3"))
        self.planned(lambda: self.world.sis.teacher("t3", given_name="Robin"))


class Linked(Back):
    """A record was to be linked, then somebody decided otherwise, and a run acted on that."""

    kept = ("sync_whole", "a_plan_is_applied")

    def it_begins(self) -> None:
        self.world.add("staff", email=PAT)

    def it_goes_on(self) -> None:
        self.world.sis.teacher("t3", email=PAT)
        self.synced()
        ((conflict, _, _, (user,)),) = self.world.conflicts()
        self.world.resolve(conflict, link=user)
        self.planned(lambda: None)
        self.world.resolve(conflict, new=True)
        self.synced()


class TwoRuns(Focus):
    """A second run is started while one is under way."""

    kept = ("a_second_run_is_started_meanwhile",)
    edits_made = leave(["s0", "s1"])


class Crashes(Focus):
    """Runs end in the middle of their last transaction."""

    kept = ("sync_crashes",)
    verified = True
    edits_made = written(["s0", "s1"], ["student", "staff"])
    ways_read = st.just("whole")
    crash_at = st.tuples(st.just("apply.checked"), st.integers(1, 30))


class Rewritten(Focus):
    """History is written to by another door."""

    kept = ("the_ledger_is_written_to",)


class Undone(Focus):
    """A run was undone, and the next one comes."""

    kept = ("a_run_is_undone", "sync_whole")

    def it_goes_on(self) -> None:
        self.world.sis.student("s1", grade="07").student("s0", grade="07")
        self.synced()
        self.undo(self.applied()[-1])


class UndoneLater(Focus):
    """A run is undone of whom somebody was edited since."""

    kept = ("a_run_is_undone",)

    def it_goes_on(self) -> None:
        self.world.sis.student("s1", grade="07").student("s0", grade="07")
        self.synced()
        self.attempt(lambda: self.somebody_is(self.world.user("s0")["id"], "edit"))


class Retired(Focus):
    """A source is retired while somebody of it is named in a conflict."""

    kept = ("the_second_source_is_retired", "time_passes")
    rostered = BOTH

    def it_begins(self) -> None:
        self.world.second.person("x0", "staff", email=PAT)

    def it_goes_on(self) -> None:
        self.world.sis.student("s0", email=PAT)
        self.world.sis.teacher("t3", email=PAT)
        self.synced()


FOCUSES: list[type[Focus]] = [
    Protected, Kept, Locked, Grace, Conflict, Readings, Torn, Unread, HalfAFile, OnePerson, Many,
    Spoilt, Reused, Answered, AFew, Teachers, Crowd, Ours, Narrowed, Replaced, Edited, Sealed, Late,
    Paused, Rejected, Overtaken, Back, Newcomer, Linked, TwoRuns, Crashes, Rewritten, Undone,
    UndoneLater, Retired,
]  # fmt: skip
