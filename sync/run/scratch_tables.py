"""The scratch tables: every temporary table of the program, its columns, who fills and reads it.

They connect rooms that otherwise only call each other, so each is described here once. A statement
in SQL names the table; the module that runs it is listed in ``filled_by`` or ``read_by`` and takes
the object (``sync/run/scratch.py``). ``tests/sync/run/test_scratch.py`` compares this list with the
code. The file is long because it is a list: a table is looked up here.

One file, because it is one list: every temporary table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from sqlalchemy import Connection

from sync.run.scratch import Scratch

# -- the stage: one reading of a source, until it is kept or thrown away


class StagedEntries(
    Scratch,
    name="stage_entries",
    columns="seq BIGINT, place BIGINT, kind TEXT, stream TEXT, key TEXT, state INTEGER,"
    " raw_print BYTES, gist_print BYTES, norm_print BYTES, data TEXT, email TEXT,"
    " person_key TEXT, roles TEXT, former TEXT, file TEXT, line INTEGER",
    indexes={
        "ix_stage_entries": "(kind, key)",
        "ix_stage_former": "(former) WHERE former IS NOT NULL",
    },
    filled_by=(
        "reading/stream.py", "reading/join.py", "reading/absence.py", "reading/repeated_ids.py",
    ),
    read_by=(
        "reading/absence.py", "reading/evidence.py", "reading/join.py",
        "reading/page_order_store.py", "reading/repeated_ids.py", "reading/stage.py",
        "reading/stream.py",
    ),
):  # fmt: skip
    """What a reading found out about each entry that is new or not as it was.

    ``place`` is the page it came from, null for an entry that was joined from rows; ``former`` is
    the key it had before.
    """


class StagedParts(
    Scratch,
    name="stage_parts",
    columns="seq BIGINT, place BIGINT, stream TEXT, key TEXT, owner TEXT, state INTEGER,"
    " raw_print BYTES, gist_print BYTES, data TEXT, file TEXT, line INTEGER",
    indexes={
        "ix_stage_parts": "(stream, key)",
        "ix_stage_owners": "(owner) WHERE owner IS NOT NULL",
    },
    filled_by=("reading/stream.py", "reading/repeated_ids.py"),
    read_by=(
        "reading/absence.py", "reading/evidence.py", "reading/join.py",
        "reading/page_order_store.py", "reading/repeated_ids.py",
    ),
):  # fmt: skip
    """The rows of entries that are joined from several rows."""


class StagedGists(
    Scratch,
    name="stage_gists",
    columns="kind TEXT, key TEXT, gist_print BYTES, norm_print BYTES",
    filled_by=("reading/stream.py",),
    read_by=("reading/evidence.py",),
):
    """Entries whose bytes changed and whose content did not: only their prints are new."""


class StagedPassed(
    Scratch,
    name="stage_passed",
    columns="stream TEXT, key TEXT",
    indexes={"ix_stage_passed": "(stream, key)"},
    filled_by=("reading/stream.py",),
    read_by=(
        "reading/absence.py", "reading/evidence.py", "reading/page_order_store.py",
        "reading/repeated_ids.py",
    ),
):  # fmt: skip
    """Keys at which the old page order and the new one part: what is not staged of them is gone."""


class StagedUnited(
    Scratch,
    name="stage_united",
    columns="stream TEXT, key TEXT",
    filled_by=("reading/repeated_ids.py",),
    read_by=("reading/page_order_store.py",),
):
    """The ids that stand on several rows of this reading: all of them are read again next time."""


class StagedGone(
    Scratch,
    name="stage_gone",
    columns="kind TEXT, key TEXT, cause TEXT",
    filled_by=("reading/absence.py", "reading/join.py", "reading/refused.py"),
    read_by=("reading/absence.py", "reading/evidence.py", "reading/refused.py"),
):
    """The entries that were proven to be gone."""


class StagedGoneParts(
    Scratch,
    name="stage_gone_parts",
    columns="stream TEXT, key TEXT",
    filled_by=("reading/absence.py", "reading/refused.py"),
    read_by=(
        "reading/absence.py",
        "reading/evidence.py",
        "reading/join.py",
        "reading/refused.py",
    ),
):
    """The rows that were proven to be gone."""


class StagedRefused(
    Scratch,
    name="stage_refused",
    columns="stream TEXT, owner TEXT, given TEXT, family TEXT, doubtful BOOLEAN, file TEXT,"
    " line INTEGER",
    filled_by=("reading/stream.py", "reading/repeated_ids.py"),
    read_by=("reading/refused.py",),
):
    """Rows that were refused, and of whom they speak: their key may be wrong, or another's."""


class StagedChunks(
    Scratch,
    name="stage_chunks",
    columns="stream TEXT, position INTEGER, digest BYTES, count INTEGER, prints BYTES,"
    " keys BYTES, spans BYTES",
    filled_by=("reading/stage.py", "reading/absence.py"),
    read_by=("reading/absence.py", "reading/page_order_store.py"),
):
    """The new page order, page by page, as ``snapshot_chunks`` keeps it."""


class StagedFindings(
    Scratch,
    name="stage_findings",
    columns="stream TEXT, file TEXT, line INTEGER, key TEXT, col TEXT, rule TEXT, message TEXT,"
    " hint TEXT, used BOOLEAN DEFAULT FALSE, joined BOOLEAN DEFAULT FALSE",
    filled_by=(
        "reading/absence.py", "reading/join.py", "reading/repeated_ids.py", "reading/stream.py",
    ),
    read_by=("reading/evidence.py", "reading/stage.py"),
):  # fmt: skip
    """Faults of rows: ``used`` without a value all the same; ``joined`` of an entry of several."""


class TouchedOwners(
    Scratch,
    name="stage_owners",
    columns="owner TEXT",
    filled_by=("reading/join.py",),
    read_by=("reading/join.py",),
):
    """The entries of which a row is new, changed or gone: they are joined anew."""


class MovedSchools(
    Scratch,
    name="moved_schools",
    columns="key TEXT PRIMARY KEY",
    filled_by=("reading/evidence.py",),
    read_by=("reading/evidence.py",),
):
    """The schools that are new or gone in this reading: their members are looked at again."""


# -- the people of a plan


class UserList(
    Scratch,
    name="todo_users",
    columns="n INTEGER, target_id TEXT",
    indexes={"ix_todo_users": "(n)"},
    filled_by=("acts/ordered_plan.py", "people/person.py", "planning/worklists.py"),
    read_by=("people/person.py", "planning/worklists.py"),
):
    """The users to look at, numbered from 1: read in batches by their number."""


class JoinList(
    Scratch,
    name="todo_joins",
    columns="record_id BIGINT, target_id TEXT, reason TEXT",
    indexes={"ix_todo_joins": "(target_id)", "ix_todo_join": "(record_id)"},
    filled_by=("people/matching.py", "planning/worklists.py"),
    read_by=("people/matching.py", "people/person.py", "planning/worklists.py"),
):
    """The records that join a user whom the directory knows, and why."""


@dataclass(frozen=True, slots=True)
class PeopleToRead:
    """The users to look at and the records that join them: ``read_users`` reads both."""

    users: UserList
    joins: JoinList

    @classmethod
    def none_yet(cls, connection: Connection) -> Self:
        """Make both lists, empty."""
        return cls(UserList(connection), JoinList(connection))


class RecordList(
    Scratch,
    name="todo_records",
    columns="n NUMBERED, record_id BIGINT, cause TEXT",
    indexes={"ix_todo_record": "(record_id)"},
    filled_by=("people/entries.py", "people/matching.py", "planning/worklists.py"),
    read_by=(
        "people/entries.py",
        "people/matching.py",
        "people/person.py",
        "planning/worklists.py",
    ),
):
    """The records of people whom the directory does not know, numbered from 1."""


class SomeRecords(
    Scratch,
    name="some_records",
    columns="n INTEGER, record_id BIGINT",
    filled_by=("people/person.py",),
    read_by=("people/person.py",),
):
    """Records that are read by their ids, numbered from 1."""


class NewKeys(
    Scratch,
    name="new_keys",
    columns="record_id BIGINT, source_id BIGINT, person TEXT, word TEXT, value TEXT",
    indexes={"ix_new_keys": "(word, value)", "ix_new_keys_person": "(person)"},
    filled_by=("people/shared_keys.py",),
    read_by=("people/matching.py", "people/shared_keys.py"),
):
    """Everything by which new people could be known: a row for each key of each record."""


class Found(
    Scratch,
    name="found",
    columns="person TEXT, source_id BIGINT, target_id TEXT, other TEXT, word TEXT",
    indexes={
        "ix_found": "(person)",
        "ix_found_source": "(source_id, person)",
        "ix_found_target": "(target_id)",
        "ix_found_other": "(other) WHERE other IS NOT NULL",
    },
    filled_by=("people/shared_keys.py",),
    read_by=("people/matching.py", "people/shared_keys.py"),
):
    """Who shares a key with a new person: a user (``target_id``), or another new person."""


class Attached(
    Scratch,
    name="attached",
    columns="record_id BIGINT, base_id BIGINT, target_id TEXT, reason TEXT",
    indexes={"ix_attached": "(base_id)", "ix_attached_record": "(record_id)"},
    filled_by=(
        "people/entries.py",
        "people/matching.py",
    ),
    read_by=("people/matching.py", "planning/newcomers.py", "planning/worklists.py"),
):
    """Records that are of a newcomer of another source: they join with the record ``base_id``."""


class SameEntries(
    Scratch,
    name="same_entries",
    columns="record_id BIGINT PRIMARY KEY, base_id BIGINT, person TEXT",
    filled_by=("people/entries.py",),
    read_by=(
        "people/entries.py",
        "people/matching.py",
        "people/moved_people.py",
        "people/person.py",
    ),
):
    """New records of one source that are entries of one person; ``base_id`` is the first one."""


class EntryKeys(
    Scratch,
    name="entry_keys",
    columns="n BIGINT, word TEXT",
    indexes={"ix_entry_keys": "(word, n)", "ix_entry_keys_n": "(n, word)"},
    filled_by=("people/entries.py",),
    read_by=("people/entries.py",),
):
    """The words of which two entries of one person share one; ``n`` is of the list of records."""


class EntryGroups(
    Scratch,
    name="entry_groups",
    columns="n BIGINT PRIMARY KEY, label BIGINT",
    filled_by=("people/entries.py",),
    read_by=("people/entries.py",),
):
    """Entries that share words, directly or by others: each group has one ``label``."""


class FamilyAddresses(
    Scratch,
    name="family_addresses",
    columns="record_id BIGINT, users TEXT",
    filled_by=("people/matching.py",),
    read_by=("planning/newcomers.py",),
):
    """New records whose address is one that a family shares, and the users who have it."""


class Strangers(
    Scratch,
    name="strangers",
    columns="record_id BIGINT, source_id BIGINT, target_id TEXT, was TEXT, is_now TEXT",
    filled_by=("planning/reused_ids.py",),
    read_by=("planning/reused_ids.py",),
):
    """Records of a user that suddenly speak of somebody else: a person is asked about them."""


class GivenAway(
    Scratch,
    name="given_away",
    columns="record_id BIGINT, from_id TEXT, to_id TEXT",
    filled_by=("planning/reused_ids.py",),
    read_by=(
        "people/moved_people.py",
        "people/shared_keys.py",
        "planning/reused_ids.py",
        "planning/worklists.py",
    ),
):
    """Records that a person gave to another user; ``to_id`` is null until a new one has an id."""


class ConflictPeople(
    Scratch,
    name="conflict_people",
    columns="target_id TEXT",
    indexes={"ix_conflict_people": "(target_id)"},
    filled_by=("planning/newcomers.py", "planning/overrides.py"),
    read_by=("acts/vendor_switch.py", "planning/overrides.py", "planning/worklists.py"),
):
    """The users whom an open conflict names: they do not leave."""


class Leavers(
    Scratch,
    name="leavers",
    columns="person TEXT, word TEXT, value TEXT, kind TEXT",
    indexes={"ix_leavers": "(value, word)", "ix_leavers_person": "(person)"},
    filled_by=("people/moved_people.py",),
    read_by=("people/moved_people.py",),
):
    """Everything by which those who leave, or would, could be known again."""


class Staying(
    Scratch,
    name="staying",
    columns="person TEXT",
    filled_by=("people/moved_people.py",),
    read_by=("people/moved_people.py",),
):
    """Those of ``leavers`` who stay for now: protected, in grace, or the season takes nothing."""


class Joiners(
    Scratch,
    name="joiners",
    columns="person BIGINT, word TEXT, value TEXT, kind TEXT",
    indexes={"ix_joiners": "(value, word)", "ix_joiners_person": "(person)"},
    filled_by=("people/moved_people.py",),
    read_by=("people/moved_people.py",),
):
    """Everything by which the people of new records could be known; ``person`` is the record."""


class Pairs(
    Scratch,
    name="pairs",
    columns="record_id BIGINT, target_id TEXT, moved INTEGER",
    indexes={"ix_pairs": "(record_id)", "ix_pairs_target": "(target_id)"},
    filled_by=("people/moved_people.py",),
    read_by=("people/moved_people.py", "planning/overrides.py", "planning/worklists.py"),
):
    """Somebody who joins and somebody who leaves: one person (``moved`` 1), or alike."""


# -- what a draft comes to


class Marks(
    Scratch,
    name="marks",
    columns="target_id TEXT, source_id BIGINT, mark TEXT",
    filled_by=("ledger/draft.py", "planning/overrides.py", "planning/return_check.py"),
    read_by=("ledger/seal.py", "planning/approval_needed.py", "planning/return_check.py"),
):
    """Why the limits look at a person, beside what is taken from them."""


class Suspected(
    Scratch,
    name="suspected",
    columns="target_id TEXT, source_id BIGINT, kind TEXT, about TEXT",
    filled_by=("ledger/draft.py", "planning/overrides.py", "planning/return_check.py"),
    read_by=("planning/approval_needed.py", "planning/return_check.py"),
):
    """What updates do that is odd once it happens to many people."""


class Holds(
    Scratch,
    name="holds",
    columns="target_id TEXT, why TEXT, source_id BIGINT",
    indexes={"ix_holds": "(target_id)"},
    filled_by=("planning/approval_needed.py", "planning/reused_ids.py"),
    read_by=("ledger/seal.py", "planning/approval_needed.py", "planning/reused_ids.py"),
):
    """The people whose changes wait for approval, and the limit because of which."""


class PupilsNow(
    Scratch,
    name="pupils_now",
    columns="user_id TEXT, school_id TEXT, grade TEXT",
    filled_by=("planning/return_check.py",),
    read_by=("planning/return_check.py",),
):
    """Who is a student where, while the directory still is as the pause left it."""


class ReturnVerdicts(
    Scratch,
    name="verdicts",
    columns="target_id TEXT, verdict TEXT",
    indexes={"ix_verdicts": "(target_id)"},
    filled_by=("planning/return_check.py",),
    read_by=("planning/return_check.py",),
):
    """What the check of a school's return says to what is taken from a person."""


class GoingOver(
    Scratch,
    name="going_over",
    columns="user_id TEXT, how TEXT",
    filled_by=("acts/vendor_switch.py",),
    read_by=("acts/vendor_switch.py",),
):
    """The people of the source that is left: matched, weak or lost."""


class PlanPlaces(
    Scratch,
    name="plan_places",
    columns="target_id TEXT, record_id BIGINT, role TEXT, school_id TEXT, is_primary BOOLEAN,"
    " alone BOOLEAN, active BOOLEAN",
    filled_by=("ledger/new_memberships.py",),
    read_by=("ledger/apply.py", "ledger/headcount.py"),
):
    """The roles and schools that the changes of a plan give."""


@dataclass(frozen=True, slots=True)
class PlanTables:
    """What a plan is made on, from the opening of its draft until it is sealed."""

    people: PeopleToRead
    records: RecordList
    same_entries: SameEntries
    attached: Attached
    family_addresses: FamilyAddresses
    strangers: Strangers
    given_away: GivenAway
    conflict_people: ConflictPeople
    leavers: Leavers
    staying: Staying
    joiners: Joiners
    pairs: Pairs
    marks: Marks
    suspected: Suspected
    holds: Holds

    @classmethod
    def none_yet(cls, connection: Connection) -> Self:
        """Make all of them, empty."""
        named = ConflictPeople(connection)
        named.index()  # it is asked before all is in it
        return cls(
            PeopleToRead.none_yet(connection),
            RecordList(connection),
            SameEntries(connection),
            Attached(connection),
            FamilyAddresses(connection),
            Strangers(connection),
            GivenAway(connection),
            named,
            Leavers(connection),
            Staying(connection),
            Joiners(connection),
            Pairs(connection),
            Marks(connection),
            Suspected(connection),
            Holds(connection),
        )
