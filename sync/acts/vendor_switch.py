"""Vendor switch: one plan moves everybody from one source to another, and nobody leaves (P7).

The new source is read beside the old one and matched against the directory. When applied, the plan
links matched people to the new source, ends the old source's hold on them, and stops reading the
old source. People that the new source does not share stay held by the old one until ``source
retire``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, TextClause, bindparam, func, select, text

from core.errors import UsageError
from core.storage.database import Database
from core.storage.schema import Conflict, Record, Source
from core.storage.stored import from_json
from sync.acts.ordered_plan import STANDS_DAYS
from sync.ledger.draft import Draft
from sync.ledger.seal import seal_whole
from sync.people.identity import NUMBERS
from sync.planning.plan import PlanRequest, Plans, Switch, make_plans
from sync.reading.read_sources import read_sources
from sync.run import find
from sync.run.clock import Clock
from sync.run.district_run import DistrictRun, Progress, open_district_run, origins_of
from sync.run.outcome import Outcome
from sync.run.run_rows import close_run_in
from sync.run.scratch_tables import ConflictPeople, GoingOver, PlanTables


def switch_source(
    database: Database,
    slug: str,
    old: str,
    new: str,
    *,
    actor: str,
    now: Clock | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Read the new source and store a ``planned`` plan that moves everybody over to it.

    ``outcome.report`` counts for each school who is matched, weak (named in an open conflict), lost
    (the new source does not share them) and new. Limits do not apply to the plan; nobody is changed
    yet. Raises ``UsageError`` if these are not two sources of the district, or while a person must
    decide which school is which; and ``Busy``.
    """
    with open_district_run(database, slug, "switch", actor, now) as run:
        with database.read() as connection:
            left = find.source_row(connection, run.district, old)
        joined = next((source for source in run.sources if source.name == new), None)
        if joined is None and _is_retired(run, new):
            raise UsageError(
                f"{new} is retired: it shares nobody any more.",
                hint="Give the vendor a source of another name in the district file, and load it.",
            )
        if joined is None or joined.id == left.id:
            raise UsageError(
                f"{slug} has no source {new} to switch to.",
                hint="Add the new source to the district file and load it; keep the old one.",
            )
        read_sources(run, [new], full=True, progress=progress)
        (result,) = run.results
        outcome = Outcome(slug, "planned", run.run_id, [], {result.source.name: result.certificate})
        if not result.complete:
            outcome.error = result.error
            outcome.status = result.error.status if result.error else "incomplete"
        else:
            _plan(run, left.id, joined, outcome)
        with database.write() as connection:
            close_run_in(connection, run.run_id, outcome.status, run.now, outcome.error)
    return outcome


def _plan(run: DistrictRun, old_id: int, new: Source, outcome: Outcome) -> None:
    new_id = new.id
    rest = [source for source in run.sources if source.id not in (old_id, new_id)]

    def seal(tables: PlanTables, draft: Draft) -> int | None:
        connection = tables.conflict_people.connection
        _refuse_doubtful_schools(connection, run, new_id)
        draft.flush(connection)
        outcome.report = _report(tables.conflict_people, draft, run, old_id, new_id)
        outcome.report |= {
            "own_numbers": sorted(new.own_numbers),
            "numbers": _numbers(connection, run.database, draft, new_id),
        }
        seal_whole(
            connection, draft, expires=run.now + timedelta(days=STANDS_DAYS),
            effects={"retire": [old_id], "report": outcome.report},
            extra={"conflict": outcome.report["weak"]},
        )  # fmt: skip
        return draft.plan_id

    plans: Plans = make_plans(
        run.database,
        PlanRequest(
            district=run.district,
            settings=run.settings,
            sources=[new, *rest],  # the new source takes precedence
            origins=origins_of(run.sources),
            run_id=run.run_id,
            kind="switch",
            now=run.now,
            failed=frozenset(source.id for source in rest),
            silent=frozenset(source.id for source in rest),
            certificates={r.source.name: r.certificate for r in run.results},
            establishes=() if new.established else (new_id,),
            season_state=run.state,
            switch=Switch(old_id, new_id, seal),
        ),
    )
    if plans.plan_id is not None:
        outcome.plan_ids = [plans.plan_id]


def _is_retired(run: DistrictRun, name: str) -> bool:
    with run.database.read() as connection:
        about = {"district": run.district.id, "name": name}
        return connection.execute(_RETIRED, about).first() is not None


def _refuse_doubtful_schools(connection: Connection, run: DistrictRun, new_id: int) -> None:
    """Refuse to move people into schools that are not identified yet."""
    schools = connection.execute(_DOUBTFUL_SCHOOLS, {"source": new_id}).scalar_one()
    if schools:
        raise UsageError(
            f"{schools} schools of the new source may be schools of the district, by name only.",
            hint=f"Decide them first: rostersync conflicts {run.district.slug}.",
        )


def _report(
    weak: ConflictPeople, draft: Draft, run: DistrictRun, old_id: int, new_id: int
) -> dict[str, Any]:
    """Return who moves over: in total, and for each school."""
    about = {"plan": draft.plan_id, "old": old_id, "new": new_id}
    connection = weak.connection
    going_over = GoingOver(connection)
    connection.execute(_FILL_GOING_OVER, about)
    total = _counted(dict(_pairs(going_over.connection.execute(_COUNT_GOING_OVER))))
    schools: dict[tuple[str, str], dict[str, int]] = {}
    for school, name, how, people in connection.execute(_COUNT_BY_SCHOOL):
        schools.setdefault((name or "", school), {})[how] = people
    return {
        "from": connection.execute(_NAME, {"id": old_id}).scalar_one(),
        "to": connection.execute(_NAME, {"id": new_id}).scalar_one(),
        **total,
        "new": draft.counts["create"],
        "schools": [
            {"id": school or None, "name": name or None, **_counted(counts)}
            for (name, school), counts in sorted(schools.items())
        ],
    }


def _numbers(
    connection: Connection, database: Database, draft: Draft, new_id: int
) -> list[dict[str, Any]]:
    """Return the kinds of numbers that seem to be the new source's own: most people's differ.

    ``differ`` counts people who otherwise look the same (their names agree, and an address or
    another number), ``agree`` those who move over with the same number.
    """
    differing: Counter[str] = Counter()
    about = {"plan": draft.plan_id, "source": new_id}
    for (candidates,) in connection.execute(_CANDIDATES_IN_DOUBT, about):
        decoded = from_json(candidates)
        found: set[str] = set()
        for candidate in decoded:
            slugs = set(candidate["evidence"])
            if "names_agree" in slugs and any(slug.startswith("same_") for slug in slugs):
                found |= {name for name in NUMBERS if f"other_{name}" in slugs}
        differing.update(found)
    told = []
    for name, differ in sorted(differing.items()):
        agree = int(connection.execute(_count_agreeing(database, name), about).scalar_one())
        if differ >= LEAST_DIFFERING and differ > agree:
            told.append({"number": name, "differ": differ, "agree": agree})
    return told


LEAST_DIFFERING = 5
"""From this many people on, differing numbers are a matter of the scheme, not of each person."""


def _pairs(rows: Any) -> list[tuple[str, int]]:
    return [(how, people) for how, people in rows]


def _counted(counts: Mapping[str, int]) -> dict[str, int]:
    found = {how: counts.get(how, 0) for how in ("matched", "weak", "lost")}
    return {"people": sum(found.values()), **found}


_DOUBTFUL_SCHOOLS = (
    select(func.count())
    .join_from(Conflict.table, Record.table, Record.id == Conflict.record_id)
    .where(
        Record.source_id == bindparam("source"),
        Conflict.kind == "school",
        Conflict.status == "open",
    )
)
_RETIRED = select(Source.id).where(
    Source.district_id == bindparam("district"), Source.name == bindparam("name"), Source.retired
)
_NAME = select(Source.name).where(Source.id == bindparam("id"))


# --- Set-wise statements ---
# They compare everybody of the old source with everybody of the new one, in the scratch table
# ``going_over``. What a record of the new source says of a number is looked up in its JSON.

_CANDIDATES_IN_DOUBT = text(
    "SELECT c.candidates FROM conflicts c JOIN records r ON r.id = c.record_id"
    " WHERE r.source_id = :source AND c.kind = 'user' AND c.status = 'open'"
    " AND NOT EXISTS (SELECT 1 FROM changes x WHERE x.plan_id = :plan"
    " AND x.record_id = c.record_id)"
)
_FILL_GOING_OVER = text(
    "INSERT INTO going_over SELECT h.target_id, CASE WHEN EXISTS (SELECT 1 FROM changes c"
    " JOIN records r ON r.id = c.record_id WHERE c.plan_id = :plan AND c.target_id = h.target_id"
    " AND c.action IN ('link', 'adopt') AND r.source_id = :new) OR EXISTS (SELECT 1 FROM links l"
    " JOIN records r ON r.id = l.record_id WHERE l.target_id = h.target_id AND l.held"
    " AND r.source_id = :new AND r.present AND r.in_scope) THEN 'matched'"
    " WHEN EXISTS (SELECT 1 FROM conflict_people p WHERE p.target_id = h.target_id) THEN 'weak'"
    " ELSE 'lost' END FROM (SELECT DISTINCT l.target_id FROM links l JOIN records r"
    " ON r.id = l.record_id JOIN users u ON u.id = l.target_id WHERE r.source_id = :old"
    " AND r.kind = 'user' AND l.held AND u.status <> 'archived') AS h"
)
_COUNT_GOING_OVER = text("SELECT how, COUNT(*) FROM going_over GROUP BY how")
_COUNT_BY_SCHOOL = text(
    "SELECT m.school_id, s.name, g.how, COUNT(DISTINCT g.user_id) FROM going_over g"
    " JOIN memberships m ON m.user_id = g.user_id LEFT JOIN schools s ON s.id = m.school_id"
    " GROUP BY m.school_id, s.name, g.how"
)


def _count_agreeing(database: Database, number: str) -> TextClause:
    """Count the people who move over and whose *number* is the same in the new source."""
    data = "r.data" if database.is_sqlite else "CAST(r.data AS JSONB)"
    return text(
        "SELECT COUNT(*) FROM changes c JOIN records r ON r.id = c.record_id"
        " JOIN users u ON u.id = c.target_id WHERE c.plan_id = :plan"
        " AND c.action IN ('link', 'adopt') AND r.source_id = :source"
        f" AND u.{number} = {database.json_text(data, number)}"
    )
