"""The timeline of one person, as ``why`` tells it."""

from __future__ import annotations

from typing import Any

from rostersync.cli.door import Door
from rostersync.cli.printing import words
from rostersync.cli.printing.change_lines import change_line, skipped_lines

_NEXT = {
    "leaves": "What would let them go",
    "comes_back": "What would bring them back",
    "comes_in": "What would bring them in",
    "look": "To look closer",
}


def say_timeline(door: Door, told: dict[str, Any], zone: str) -> None:
    """Print the reasons for a person's state and what happened, on the district's own clock."""
    user = told["user"]
    if user is None and (source := told.get("source")) is not None:
        door.say(f"There is no record {source['name']}:{source['external_id']}.")
    elif user is None:
        record = told["records"][0]
        door.say(f"{record['source']}:{record['external_id']} is nobody in the directory yet.")
    else:
        door.say(f"{words.person_name(user)} ({user['id']}): {words.state(user)}")
    for reason in told["reasons"]:
        door.say(f"    {reason['means']} ({reason['code']})")
    for word, sentence in told["next"].items():
        door.say(f"    {_NEXT.get(word, word)}: {sentence}")
    if "source" in told:
        _say_source(door, told["source"], told["findings"], zone)
    _say_records(door, told, zone)
    _say_fields(door, told["fields"])
    _say_open(door, told, zone)
    if told["changes"]:
        _title(door, "History")
    for change in told["changes"]:
        note = f" · {change['note']}" if change["note"] else ""
        at = words.moment(change["at"], zone)
        door.say(
            f"    {change['serial']}  {at}  {change['actor']}  {change['plan_id']}"
            f"  {change_line(change)}{note}"
        )


def _title(door: Door, title: str) -> None:
    door.say()
    door.say(title, style="bold")


def _say_source(
    door: Door, source: dict[str, Any], findings: list[dict[str, Any]], zone: str
) -> None:
    """Say what is known of the source from which somebody is expected."""
    _title(door, f"The source {source['name']}")
    if source["read_at"] is None:
        door.say("    not read yet")
    else:
        whole = "whole" if source["complete"] else f"not whole: {source['why_incomplete']}"
        door.say(f"    read last at {words.moment(source['read_at'], zone)}, {whole}")
        if not source["complete"] and source["complete_at"]:
            door.say(f"    last read completely at {words.moment(source['complete_at'], zone)}")
    schools = ", ".join(source["schools"]) or "all"
    door.say(f"    asked for the roles {', '.join(source['roles'])}; schools: {schools}")
    if findings:
        _title(door, f"Rows that could not be used ({findings[0]['of']})")
    for one in findings:
        for line in skipped_lines(one):
            door.say(f"    {line}")


def _say_records(door: Door, told: dict[str, Any], zone: str) -> None:
    if told["records"]:
        _title(door, "Records")
    reasons = {(m["source"], m["external_id"]): m for m in told["matches"]}
    for record in told["records"]:
        states = ["shared" if record["present"] else "no longer shared"]
        states += [] if record["in_scope"] else ["outside what the source is asked for"]
        states += ["holds them"] if record["held"] else ["does not hold them"]
        if record["absent_since"]:
            states.append(f"gone since {words.moment(record['absent_since'], zone)}")
        match = reasons.get((record["source"], record["external_id"]))
        how = {"create": "they joined by it"}.get(match["action"], "linked") if match else ""
        by = f"; {how}: {words.reason(match['reason'])}" if match else ""
        door.say(f"    {record['source']}:{record['external_id']}: {', '.join(states)}{by}")


def _say_fields(door: Door, fields: dict[str, dict[str, Any]]) -> None:
    if fields:
        _title(door, "Fields")
    for name, one in fields.items():
        said = words.FIELD_WORDS.get(name, name)
        notes = [
            {"history": "as a source said last", "hand": "by hand"}.get(one["from"], one["from"])
        ]
        notes += ["locked"] if one["locked"] else []
        notes += [f"{source} says {words.value(other)}" for source, other in one["others"].items()]
        door.say(f"    {said}: {words.value(one['value'])} ({'; '.join(notes)})")


def _say_open(door: Door, told: dict[str, Any], zone: str) -> None:
    protected = told["protected"]
    if protected["on"] and protected.get("since"):
        since = words.moment(protected["since"], zone)
        door.say(f"    protected since {since} by {protected['by']}")
    for lock in told["locks"]:
        if lock["since"]:
            since = words.moment(lock["since"], zone)
            door.say(f"    {lock['field']} locked since {since} by {lock['by']}")
    if told["conflicts"] or told["held"]:
        _title(door, "Waiting for a person")
    for conflict in told["conflicts"]:
        state = conflict["status"]
        if state == "resolved":
            state = f"resolved: {conflict['decision']}"
        evidence = ", ".join(conflict.get("evidence", ()))
        by = f" ({evidence})" if evidence else ""
        door.say(
            f"    {conflict['id']} {conflict['source']}:{conflict['external_id']}{by}: {state}"
        )
    for held in told["held"]:
        limits = "; ".join(one["means"] for one in held["limits"])
        door.say(f"    {held['plan_id']} holds: {words.verb(held['action'], 1)}. {limits}")
