"""The filter of OneRoster: clauses joined by AND and OR, AND binding closer, no brackets.

The standard allows one AND or OR; ClassLink takes more, and so does this.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Clause:
    """One comparison of a filter."""

    field: str
    op: str
    value: str


_CLAUSE = re.compile(r"^([A-Za-z_][\w.]*)\s?(!=|>=|<=|=|>|<|~)\s?'(.*)'$")


def parse_filter(text: str) -> list[list[Clause]] | None:
    """Return a filter as ORs of ANDs, None if it cannot be read."""
    groups = []
    for group in text.split(" OR "):
        clauses = []
        for part in group.split(" AND "):
            found = _CLAUSE.match(part.strip())
            if found is None:
                return None
            clauses.append(Clause(*found.groups()))
        groups.append(clauses)
    return groups


def matches(row: dict[str, Any], groups: Sequence[Sequence[Clause]]) -> bool:
    """Return whether a record fits a filter."""
    return any(all(_fits(row, clause) for clause in group) for group in groups)


def _fits(row: dict[str, Any], clause: Clause) -> bool:
    value: Any = row
    for name in clause.field.split("."):
        if isinstance(value, list):
            value = [item.get(name) for item in value if isinstance(item, dict)]
        else:
            value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, list):
        texts = [str(item) for item in value]
        if clause.op == "~":
            return any(clause.value in text for text in texts)
        value = ",".join(texts)
    text = "" if value is None else str(value)
    match clause.op:
        case "=":
            return text == clause.value
        case "!=":
            return text != clause.value
        case ">":
            return text > clause.value
        case ">=":
            return text >= clause.value
        case "<":
            return text < clause.value
        case "<=":
            return text <= clause.value
    return clause.value in text
