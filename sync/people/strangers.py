"""Strangers: records under whose id a source suddenly speaks of somebody else (I13). Pure.

``sync/planning/reused_ids.py`` asks a person about them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from core.models import fold_name, without_zeros
from sync.ledger.domain_moves import spellings
from sync.people.identity import NUMBERS
from sync.people.person import RecordView, UserData, UserView

_NAMES = (
    "given_name", "middle_name", "family_name",
    "preferred_given_name", "preferred_middle_name", "preferred_family_name",
)  # fmt: skip
_WORD = re.compile(r"\w+")


def strangers_of(user: UserView, aliases: Mapping[str, str]) -> list[RecordView]:
    """Return the records of a user that speak of somebody else now.

    What has moved because we read it differently ourselves is no stranger's (L8).
    """
    return [
        record
        for record in user.records
        if record.held is not None
        and record.speaks
        and record.cause != "settings"
        and is_stranger(record.data, user.profile, aliases, record.external_id)
    ]


def is_stranger(
    data: UserData, profile: Mapping[str, Any], aliases: Mapping[str, str], key: str
) -> bool:
    """Say whether a record has nothing in common with a profile, though both have a name.

    No word of the one's names is among the other's, and no address, username or number is the same.
    A number or username that is the id itself (``key``) says nothing: whose the id is, is the
    question.
    """
    if data.family_name and data.family_name == profile["family_name"]:  # almost everybody
        return False
    names, known = _words(vars_of(data)), _words(profile)
    if not names or not known or names & known:
        return False
    own = {key.casefold(), key.rpartition(":")[2].casefold()}  # some put a word before the id
    numbers = _numbers(vars_of(data)) & _numbers(profile)
    usernames = _folded(data.username) & _folded(profile["username"])
    return not (
        numbers - {without_zeros(one) for one in own}
        or usernames - own
        or _addresses(data.email, aliases) & _addresses(profile["email"], aliases)
    )


def full_name(said: Mapping[str, Any]) -> str:
    """Return both names as they are compared, to tell one person asked about from another."""
    return "|".join(fold_name(said[name] or "") for name in ("given_name", "family_name"))


def vars_of(data: UserData) -> dict[str, Any]:
    """Return the names and numbers of a record's data by field."""
    return {name: getattr(data, name) for name in (*_NAMES, *NUMBERS)}


def _words(said: Mapping[str, Any]) -> set[str]:
    words = (word for name in _NAMES for word in _WORD.findall(said[name] or ""))
    return {folded for word in words if (folded := fold_name(word))}


def _numbers(said: Mapping[str, Any]) -> set[str]:
    return {without_zeros(said[name]) for name in NUMBERS if said[name]}


def _folded(value: str | None) -> set[str]:
    return {value.casefold()} if value else set()


def _addresses(email: str | None, aliases: Mapping[str, str]) -> set[str]:
    return spellings(email, aliases) if email else set()
