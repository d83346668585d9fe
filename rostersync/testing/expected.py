"""Expected records: what a person has confirmed that the normal roster means, field by field.

A scenario names a JSON file; ``rostersync connector test NAME --record`` writes it from what the
connector makes of the roster, and the author reads it through before it is kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rostersync.testing.reading import Reading

RECORD_VARIABLE = "ROSTERSYNC_RECORD"
"""Set to 1, a test run writes the expected records that are missing, instead of failing."""

Entries = Mapping[str, Mapping[str, Any]]


def said_by(reading: Reading) -> dict[str, Any]:
    """Return what a reading says of each person and school, and which entries are gone."""
    users = sorted(reading.users, key=lambda user: user.external_id)
    schools = sorted(reading.schools, key=lambda school: school.external_id)
    return {
        "people": {
            user.external_id: user.model_dump(mode="json", exclude_defaults=True) for user in users
        },
        "schools": {
            school.external_id: school.model_dump(mode="json", exclude_defaults=True)
            for school in schools
        },
        "gone": sorted({f"{one.kind}:{one.key}" for one in reading.records if one.deleted}),
    }


def write(path: Path, reading: Reading) -> None:
    """Write the expected records, one field a line, so that a person can read them through."""
    text = json.dumps(said_by(reading), indent=1, ensure_ascii=False, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")


def differences(path: Path, reading: Reading) -> Iterator[str]:
    """Yield what is otherwise than expected, in words that quote no value.

    Raises ``ValueError`` for a file that holds no expected records.
    """
    wanted = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(wanted, dict) or not {"people", "schools"} <= wanted.keys():
        raise ValueError("it has no people and schools")
    found = json.loads(json.dumps(said_by(reading)))
    for kind in ("people", "schools"):
        yield from _differences(kind, wanted[kind], found[kind])
    if wanted.get("gone", []) != found["gone"]:
        yield "other entries are gone (Record.deleted)"


def _differences(kind: str, wanted: Entries, found: Entries) -> Iterator[str]:
    missing = sorted(wanted.keys() - found.keys())
    strange = len(found.keys() - wanted.keys())
    if missing:
        yield f"{kind} are missing under their ids ({_some(missing)})"
    if strange:
        yield f"{strange} {kind} have ids that nobody expects"
    wrong: dict[str, list[str]] = {}
    for key in sorted(wanted.keys() & found.keys()):
        for field in sorted(wanted[key].keys() | found[key].keys()):
            if wanted[key].get(field) != found[key].get(field):
                wrong.setdefault(field, []).append(key)
    for field, keys in wrong.items():
        yield f"{field} of {len(keys)} {kind} ({_some(keys)})"


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (" …" if len(keys) > 3 else "")
