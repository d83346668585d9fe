"""Suspicions: what an update does to one person that is odd once it happens to many (L10). Pure.

``planning/decide.py`` asks for them about each update that a vendor causes, and
``planning/approval_needed.py`` counts them: a few are everyday corrections, many are a mistake.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from core.models import PROFILE_FIELDS
from core.settings import LimitRule, Limits

BLANKED = "blanked"
"""A value is taken away: there before, empty now."""
OUTSIDE_DOMAINS = "outside_domains"
"""The address moves to a domain that the district does not list."""
RENAMED = "renamed"
"""Nothing of the old given and family name is in the new ones."""
MOVED = "moved"
"""All schools become others."""
SUSPICIONS = (BLANKED, OUTSIDE_DOMAINS, RENAMED, MOVED)

LONGEST = 255
"""As much of a domain as is kept."""

_WORD = re.compile(r"[^\W_]+")


class Suspicion(NamedTuple):
    """One thing that an update does. A person may have several of one kind."""

    kind: str
    about: str = ""
    """The field that was emptied, the new domain, or a school that was left or joined."""


def suspicions_of(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    profile: Mapping[str, Any],
    domains: Collection[str],
) -> list[Suspicion]:
    """Return what is suspicious about one update, in the order of ``SUSPICIONS``.

    ``before`` and ``after`` hold the fields that change, ``profile`` all fields as they were.
    ``domains`` are the district's email domains, in small letters; empty: any domain is its own.
    """
    found = [Suspicion(BLANKED, name) for name in PROFILE_FIELDS if _is_blanked(after, name)]
    if (domain := _outside_domain(before.get("email"), after.get("email"), domains)) is not None:
        found.append(Suspicion(OUTSIDE_DOMAINS, domain))
    if _is_renamed(profile, after):
        found.append(Suspicion(RENAMED))
    if "memberships" in after:
        found += _moves(before["memberships"], after["memberships"])
    return found


def _is_blanked(after: Mapping[str, Any], name: str) -> bool:
    return name in after and after[name] is None


def _outside_domain(old: str | None, new: str | None, domains: Collection[str]) -> str | None:
    """Return the domain to which an address moves, if it is none of the district's."""
    if not (old and new and domains):
        return None
    left, reached = (email.strip().casefold().rpartition("@")[2] for email in (old, new))
    return reached[:LONGEST] if reached != left and reached not in domains else None


def _is_renamed(profile: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    if "given_name" not in after and "family_name" not in after:
        return False
    names = [profile.get(name) for name in ("given_name", "family_name")]
    wanted = [after.get(name, profile.get(name)) for name in ("given_name", "family_name")]
    old, new = words_of(names), words_of(wanted)
    return bool(old) and any(wanted) and not old & new  # new names may be signs: ***


def words_of(names: Sequence[str | None]) -> set[str]:
    """Return the words of some names, case and accents aside."""
    spelled = unicodedata.normalize("NFKD", " ".join(name or "" for name in names).casefold())
    plain = "".join(letter for letter in spelled if not unicodedata.combining(letter))
    return set(_WORD.findall(plain))


def _moves(before: Sequence[Sequence[Any]], after: Sequence[Sequence[Any]]) -> list[Suspicion]:
    """Return the schools of somebody who is at none of their old schools any more."""
    left, joined = ({school for _, school, _ in places if school} for places in (before, after))
    if not left or left & joined:
        return []
    return [Suspicion(MOVED, school) for school in sorted(left | joined)]


def rule_of(kind: str, limits: Limits) -> LimitRule:
    """Return the limit of a kind; addresses outside the domains count like emptied ones."""
    rules = {
        BLANKED: limits.blanked,
        OUTSIDE_DOMAINS: limits.blanked,
        RENAMED: limits.renamed,
        MOVED: limits.moved,
    }
    return rules[kind]
