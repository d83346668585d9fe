"""The printed plan: what is held, then the totals, then by school and role; always short.

Values in, lines out. A line is text and a style (a rich style or none).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from rostersync.cli.printing import words
from rostersync.cli.printing.change_lines import detail, who
from rostersync.cli.printing.still_open import conflicts_sentence, rows_sentence
from sync.views.plan_summary import Group, Summary

SCHOOLS_SHOWN = 15
SAMPLES_SHOWN = 5

_STYLES = {"+": "green", "-": "red", "~": "yellow"}
_VERB_ORDER = {action: index for index, action in enumerate(words.VERBS)}
_ROLE_ORDER = {role: index for index, role in enumerate(words.ROLE_NOUNS)}


class Line(NamedTuple):
    """One printed line."""

    text: str = ""
    style: str | None = None


def plan_lines(plan: dict[str, Any], summary: Summary | None, zone: str) -> Iterator[Line]:
    """Tell a plan, its times on the clock of ``zone``, the time zone of its district.

    Without a ``summary``: its head, sums and what to do next.
    """
    yield Line(f"Plan {plan['id']} of {plan['district']}: {_status(plan)}", "bold")
    yield Line(_made(plan, zone))
    if plan["held"]:
        yield Line()
        style = "red" if plan["status"] == "held" else None
        said = "Held for a person's approval, because" if style else "Was held, because"
        yield Line(f"{said}:", f"bold {style}" if style else "bold")
        for group in plan["held"]:
            yield Line(f"  - {held_sentence(group, plan['district'])}", style)
        if any(group["found"] > _people(plan) for group in plan["held"]):
            yield Line("    (the days before are counted, too)")
    yield Line()
    yield from _sums(plan, summary)
    if summary is not None:
        yield from _schools(plan, summary)
    following = list(next_steps(plan))
    if following:
        yield Line()
        yield from following


def _people(plan: dict[str, Any]) -> int:
    return sum(plan["counts"].get(action, 0) for action in words.VERBS)


def _status(plan: dict[str, Any]) -> str:
    status = str(plan["status"])
    if status == "superseded" and plan["superseded_by"]:
        return f"superseded by {plan['superseded_by']}"
    if status == "rejected" and plan["decision_reason"]:
        return f"rejected by {plan['decided_by']}: {plan['decision_reason']}"
    return status


_KINDS = {
    "sync": "by a sync",
    "upload": "by an upload",
    "hand": "by hand",
    "retire": "to retire a source",
    "switch": "to switch the vendor",
    "domain": "to change a domain",
    "undo": "to undo a run",
    "repair": "to put back what was edited past the history",
}


def _made(plan: dict[str, Any], zone: str) -> str:
    kind = _KINDS.get(plan["kind"], plan["kind"])
    made = f"made {words.moment(plan['created_at'], zone)} {kind}"
    if plan["applied_at"]:
        return f"{made}, applied {words.moment(plan['applied_at'], zone)}"
    if plan["expires_at"] and plan["status"] in {"held", "approved"}:
        return f"{made}, expires {words.moment(plan['expires_at'], zone)}"
    return made


_MARKED = {
    "additions": "{found} would join{those} within a week, allowed {allowed}",
    "blanked": "{whom} would lose what the source said of them ({fields}), allowed {allowed}",
    "outside_domains": "the addresses of {whom} would move to {fields}, which email_domains does"
    " not list, allowed {allowed}",
    "renamed": "{whom} would get another given name and another family name, allowed {allowed}",
    "moved": "{whom} would move to other schools, allowed {allowed}",
    "settings": "{whom} change because the source is read differently now (a new version, mapping"
    " or filter), allowed {allowed}",
    "leaves_scope": "{found} are outside what the source is asked for now: always held",
    "shrunk_role": "{found} are gone from a role that lost more than half of its people",
    "resembling": "{found} leave while somebody joins who resembles them:"
    " rostersync conflicts {district}",
    "standing": "{found} were held before, and their source could not be read this time",
    "guard": "{found}: nothing explains their change in the first run after a pause",
    "undone": "{found} would change back what was undone",
}


def held_sentence(group: dict[str, Any], district: str = "DISTRICT") -> str:
    """Return one held group with the numbers of its limit.

    ``7 of 120 students of Lincoln High leave, allowed 5``.
    """
    limit, found, allowed = group["limit"], group["found"], words.count(group["allowed"])
    role = group.get("role")
    number = group.get("people")
    of = f" of {words.count(number)}" if number else ""
    source = f" ({group['source']})" if group.get("source") else ""
    if limit in _MARKED:
        said = _MARKED[limit].format(
            whom=f"{words.count(found)}{of} people" if of else words.people(found),
            found=words.people(found),
            those=f" the {words.count(number)} there are" if number else "",
            allowed=allowed,
            district=district,
            fields=_fields(limit, group.get("fields") or {}),
        )
        return said + source
    whom = f"{words.count(found)}{of} {words.noun(role)}" if of else words.people(found, role)
    where = "" if limit == "district" or role else " without a role"
    if limit == "school_role":
        where += f" of {group['school']}" if group.get("school") else " without a school"
    elif limit == "district_role":
        where += " of the district"
    verb = "leaves" if found == 1 and not of else "leave"
    return f"{whom}{where} {verb}, allowed {allowed}{source}"


def _fields(limit: str, fields: dict[str, int]) -> str:
    """Name the emptied fields, each with its people, or the new domains."""
    most = sorted(fields, key=lambda name: (-fields[name], name))
    if limit == "outside_domains":
        return " and ".join(most[:3]) + (f" and {len(most) - 3} more" if len(most) > 3 else "")
    return ", ".join(f"{name.replace('_', ' ')} of {words.count(fields[name])}" for name in most)


def _sums(plan: dict[str, Any], summary: Summary | None) -> Iterator[Line]:
    counts = plan["counts"]
    told = [action for action in words.VERBS if counts.get(action)]
    for action in told:
        number = counts[action]
        sign = words.glyph(action)
        roles = {} if summary is None else _by_role(summary, action)
        whom = words.people(number, next(iter(roles)) if len(roles) == 1 else None)
        told_roles = ""
        if len(roles) > 1:
            told_roles = ": " + ", ".join(
                words.people(count, role) if role else f"{words.count(count)} others"
                for role, count in roles.items()
            )
        yield Line(f"  {sign} {whom} {words.verb(action, number)}{told_roles}", _STYLES[sign])
    for move in plan.get("domains", ()):
        number = move["people"]
        verb = "moves" if number == 1 else "move"
        yield Line(
            f"  ~ {words.people(number)} {verb} from {move['from']} to {move['to']}", _STYLES["~"]
        )
    for action, number in plan["schools"].items():
        if number:
            sign = words.glyph(action)
            noun = "school" if number == 1 else "schools"
            what = words.verb(action, number, school=True)
            yield Line(f"  {sign} {words.count(number)} {noun} {what}", _STYLES[sign])
    if not told and not any(plan["schools"].values()):
        yield Line("  Nothing changes.")
    yield from _kept(plan)


def _by_role(summary: Summary, action: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for group in summary.groups:
        if group.kind != "school" and group.action == action:
            found[group.role] = found.get(group.role, 0) + group.count
    return {role: found[role] for role in sorted(found, key=lambda one: _ROLE_ORDER.get(one, 99))}


def _kept(plan: dict[str, Any]) -> Iterator[Line]:
    counts = plan["counts"]
    if number := counts.get("protected"):
        verb = "is protected and stays" if number == 1 else "are protected and stay"
        yield Line(f"    {words.people(number)} without a source {verb}")
    if number := counts.get("locked"):
        verb = "keeps" if number == 1 else "keep"
        yield Line(f"    {words.people(number)} {verb} fields that were locked by hand")
    if number := counts.get("conflict"):
        yield Line(f"    {conflicts_sentence(number, plan['district'])}")
    if number := counts.get("skipped"):
        yield Line(f"    {rows_sentence(number, plan['district'])}")


def _schools(plan: dict[str, Any], summary: Summary) -> Iterator[Line]:
    by_school: dict[str, list[Group]] = {}
    for group in summary.groups:
        if group.kind == "school":
            by_school.setdefault("/schools", []).append(group)
        else:
            by_school.setdefault(group.school_id, []).append(group)
    if "/schools" in by_school:
        yield Line()
        yield Line("Schools", "bold")
        for group in sorted(by_school.pop("/schools"), key=_order):
            yield from _group(plan, group)
    for school in summary.shown:
        yield Line()
        yield Line(summary.schools.get(school, school) or "Without a school", "bold")
        for group in sorted(by_school[school], key=_order):
            yield from _group(plan, group)
    hidden = [school for school in by_school if school not in summary.shown]
    if hidden:
        number = sum(group.count for school in hidden for group in by_school[school])
        noun = "school" if len(hidden) == 1 else "schools"
        yield Line()
        yield Line(
            f"and {words.count(len(hidden))} more {noun} with {words.count(number)}"
            f" {'change' if number == 1 else 'changes'}:"
            f" rostersync show {plan['id']} --offset 0"
        )


def _order(group: Group) -> tuple[int, int]:
    return _VERB_ORDER.get(group.action, 99), _ROLE_ORDER.get(group.role, 99)


def _group(plan: dict[str, Any], group: Group) -> Iterator[Line]:
    sign = words.glyph(group.action)
    school = group.kind == "school"
    what = words.verb(group.action, group.count, school=school)
    if school:
        noun = "school" if group.count == 1 else "schools"
        whom = f"{words.count(group.count)} {noun}"
    else:
        whom = words.people(group.count, group.role)
    yield Line(f"  {sign} {whom} {what}", _STYLES[sign])
    for change in group.samples:
        told = who(change) if school and group.action == "create" else detail(change)
        yield Line(f"      {told}")
    rest = group.count - len(group.samples)
    if rest:
        yield Line(
            f"      and {words.count(rest)} more: rostersync show {plan['id']}"
            f" --offset {group.next_seq or 0}"
        )


def next_steps(plan: dict[str, Any]) -> Iterator[Line]:
    """Return the next command, ready to be copied."""
    name = plan["id"]
    if plan["status"] == "planned" and plan["size"]:
        yield Line(f"To do this:    rostersync apply {name}")
    elif plan["status"] == "held":
        yield Line(f"To let it go:  rostersync approve {name}")
        yield Line(f'To refuse it:  rostersync reject {name} --reason "..."')
    elif plan["status"] == "approved":
        yield Line(f"It is approved. To do it:  rostersync apply {name}")
