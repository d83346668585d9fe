"""Limits: how much a source may take away before a person must approve (L1 to L8). Pure.

Numbers in, allowed numbers out. ``sync/planning/approval_needed.py`` and
``sync/ledger/headcount.py`` do the counting.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from core.settings import LimitOverride, LimitRule, Limits

SCHOOL_ROLE = "school_role"
DISTRICT_ROLE = "district_role"
DISTRICT = "district"
SCOPES = (SCHOOL_ROLE, DISTRICT_ROLE, DISTRICT)


@dataclass(frozen=True, slots=True)
class Group:
    """A group of people that a source holds (L2). An empty school or role means none."""

    source_id: int
    scope: str
    school_id: str = ""
    role: str = ""


@dataclass(frozen=True, slots=True)
class Trip:
    """A limit that was exceeded: its group, how much it allows, how many were found."""

    limit: str
    allowed: int
    found: int
    people: int = 0
    group: Group | None = None
    source_id: int | None = None
    fields: Mapping[str, int] = field(default_factory=dict)
    """Of suspicious changes (L10): the emptied fields, or the new domains, each with its people."""


def allowed_in(group: Group, people: int, rule: LimitRule) -> int:
    """Return how many may be taken from a group of ``people`` (L3).

    ``max(least, floor(people * percent / 100))``, and never more than half of a role group of two
    or more.
    """
    allowed = max(rule.least, people * rule.percent // 100)
    if group.scope != DISTRICT and people >= 2:
        allowed = min(allowed, people // 2)
    return allowed


def rule_for(group: Group, limits: Limits, school_words: Iterable[str], today: date) -> LimitRule:
    """Return the rule for a group on a local day: the last matching override, else the default.

    ``school_words`` are the ids and names by which an override may name the group's school.
    """
    rule: LimitRule = getattr(limits, group.scope)
    words = set(school_words)
    for override in limits.override:
        if _fits(override, group, words) and in_period(override.from_, override.to, today):
            rule = override
    return rule


def _fits(override: LimitOverride, group: Group, school_words: set[str]) -> bool:
    role = override.role.value if override.role else None
    if group.scope == SCHOOL_ROLE:
        return role in (None, group.role) and override.school in (None, *school_words)
    if group.scope == DISTRICT_ROLE:
        return override.school is None and role == group.role
    return override.school is None and role is None


def in_period(start: str | None, end: str | None, today: date) -> bool:
    """Return whether a local day is in a period, ends included; MM-DD may wrap the new year."""
    if start is None or end is None:
        return True
    if len(start) == 10:
        return start <= today.isoformat() <= end
    day = today.strftime("%m-%d")
    return start <= day <= end if start <= end else day >= start or day <= end


def share_allowed(people: int, rule: LimitRule) -> int:
    """Return how many of ``people`` a rule allows: additions (L6), suspicious changes (L10)."""
    return max(rule.least, people * rule.percent // 100)


def own_changes_allowed(people: int) -> int:
    """Return how many of a source's people may change because we read it differently (L8)."""
    return max(10, people * 5 // 100)
