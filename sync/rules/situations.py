"""Situations: what the engine finds for one person or school, and what follows from it.

``TABLE`` is the whole policy, row by row; the first row that fits decides. It is written to be read
by somebody who does not program. ``sync/planning/plan.py`` collects the facts and asks
``situation_of``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple


class PersonFacts(NamedTuple):
    """What is known of one person before a decision. Each is one column of the table."""

    user: Literal["none", "active", "suspended", "archived"] = "none"
    """Where the person stands in our directory."""
    sources: Literal["share", "left", "out_of_scope", "never"] = "never"
    """``share``: a present record links to them; ``left``: one did, none does; ``out_of_scope``:
    they are still there, but outside what the source is asked for; ``never``: no record ever."""
    match: Literal["", "one", "conflict"] = ""
    """For a person without a user: does the directory hold somebody who may be the same?"""
    enabled: bool = True
    """May sign in, says the source that decides (OneRoster enabledUser)."""
    protected: bool = False
    kept_archived: bool = False
    in_conflict: bool = False
    """Named in an open conflict."""
    in_grace: bool = False
    frozen: bool = False
    """The only source that could say so failed in this run (F8)."""


@dataclass(frozen=True, slots=True)
class Situation:
    """One row: its name, the facts it wants (unnamed facts may be anything), what follows."""

    name: str
    when: dict[str, object]
    action: str
    """``create``, ``adopt``, ``update``, ``archive``, ``restore``, ``suspend``, ``unsuspend``,
    ``leaves_scope``, ``end_hold`` (the user stays, the source no longer holds them), ``conflict``,
    ``wait`` (nothing now, looked at again) or ``nothing``."""
    reason: str
    """The slug that a change carries."""
    means: str

    def fits(self, facts: PersonFacts) -> bool:
        """Say whether the facts are as this row wants them."""
        return all(getattr(facts, name) == wanted for name, wanted in self.when.items())


TABLE: tuple[Situation, ...] = (
    # -- nobody in the directory yet
    Situation(
        "newcomer", {"user": "none", "sources": "share", "match": ""},
        "create", "new_in_source", "A source shares somebody we do not know: they join.",
    ),
    Situation(
        "adoptable", {"user": "none", "sources": "share", "match": "one"},
        "adopt", "same_person", "A source shares somebody we know already: they are linked.",
    ),
    Situation(
        "conflict", {"user": "none", "sources": "share", "match": "conflict"},
        "conflict", "who_is_it", "It may be somebody we know, or not: a person decides.",
    ),
    Situation(
        "never_came", {"user": "none"},
        "nothing", "never_came", "Gone again before they joined.",
    ),
    # -- shared by at least one source
    Situation(
        "kept_archived", {"user": "archived", "sources": "share", "kept_archived": True},
        "nothing", "kept_archived", "An admin archived them to stay so.",
    ),
    Situation(
        "returned", {"user": "archived", "sources": "share", "enabled": True},
        "restore", "returned", "They are shared again: the same person comes back.",
    ),
    Situation(
        "returned_disabled", {"user": "archived", "sources": "share", "enabled": False},
        "restore", "returned_disabled", "They are shared again, but must not sign in: suspended.",
    ),
    Situation(
        "disabled", {"user": "active", "sources": "share", "enabled": False},
        "suspend", "disabled_in_source", "The source says that they must not sign in.",
    ),
    Situation(
        "enabled_again", {"user": "suspended", "sources": "share", "enabled": True},
        "unsuspend", "enabled_in_source", "The source says that they may sign in again.",
    ),
    Situation(
        "shared", {"sources": "share"},
        "update", "changed_in_source", "Still shared: fields follow the source.",
    ),
    # -- no longer shared
    Situation(
        "narrowed", {"sources": "out_of_scope", "user": "archived"},
        "nothing", "leaves_scope", "Archived, and outside what the source is asked for.",
    ),
    Situation(
        "narrowed_protected",
        {"sources": "out_of_scope", "protected": True},
        "end_hold",
        "leaves_scope",
        "Outside what the source is asked for, but protected: they stay.",
    ),
    Situation(
        "leaves_scope", {"sources": "out_of_scope"},
        "leaves_scope", "leaves_scope",
        "The source was narrowed and no longer covers them: always held.",
    ),
    Situation(
        "gone_already", {"user": "archived", "sources": "left"},
        "end_hold", "absent", "No longer shared, and archived before: nothing more to do.",
    ),
    Situation(
        "source_failed", {"sources": "left", "frozen": True},
        "wait", "source_failed", "Their source failed in this run: they stay as they are.",
    ),
    Situation(
        "left_in_conflict", {"sources": "left", "in_conflict": True},
        "wait", "in_conflict", "They may be the person of an open conflict: nobody leaves yet.",
    ),
    Situation(
        "left_in_grace", {"sources": "left", "in_grace": True},
        "wait", "in_grace", "No longer shared, but the days of grace run.",
    ),
    Situation(
        "left_protected", {"sources": "left", "protected": True},
        "end_hold", "protected", "No longer shared, but protected: they stay.",
    ),
    Situation(
        "left", {"sources": "left"},
        "archive", "absent", "No source shares them any more: they leave.",
    ),
    Situation(
        "by_hand", {"sources": "never"},
        "nothing", "by_hand", "No source ever held them: no run archives them.",
    ),
)  # fmt: skip


LEFT = frozenset({"left", "left_in_grace", "left_protected"})
"""The rows of people whom no source shares any more, whether they leave or stay."""


@lru_cache(maxsize=4096)
def situation_of(facts: PersonFacts) -> Situation:
    """Return the first row of the table that fits. Some row always does."""
    for row in TABLE:
        if row.fits(facts):
            return row
    raise AssertionError(f"no situation fits {facts}")  # pragma: no cover - the table is total


SCHOOL_TABLE: tuple[Situation, ...] = (
    Situation(
        "new_school", {"user": "none", "sources": "share", "match": ""},
        "create", "new_in_source", "A source names a school that we do not know.",
    ),
    Situation(
        "known_school", {"user": "none", "sources": "share", "match": "one"},
        "link", "same_school", "The same NCES id, state id or number: it is that school.",
    ),
    Situation(
        "school_conflict", {"user": "none", "sources": "share", "match": "conflict"},
        "conflict", "which_school", "Only the name is the same: a person confirms.",
    ),
    Situation("never_named", {"user": "none"}, "nothing", "never_came", "Gone before it came in."),
    Situation(
        "school_back", {"user": "archived", "sources": "share"},
        "restore", "returned", "The school is named again.",
    ),
    Situation(
        "school_named", {"sources": "share"},
        "update", "changed_in_source", "Its name and numbers follow the source.",
    ),
    Situation(
        "school_gone_already", {"user": "archived", "sources": "left"},
        "end_hold", "absent", "No longer named, and archived before.",
    ),
    Situation(
        "school_gone", {"sources": "left"},
        "archive", "absent", "No source names the school any more. Its people are not touched.",
    ),
    Situation("school_else", {}, "nothing", "by_hand", "Nothing to do."),
)  # fmt: skip


def school_situation_of(facts: PersonFacts) -> Situation:
    """Return the first row of the school table that fits."""
    return next(row for row in SCHOOL_TABLE if row.fits(facts))


assert all(  # noqa: S101 - a misspelt fact would never fit
    name in PersonFacts._fields for row in (*TABLE, *SCHOOL_TABLE) for name in row.when
)
