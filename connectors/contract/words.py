"""Words of a vocabulary and addresses, as they are told and judged alike for every connector.

Used by the connectors of every format. A word that is not understood is told as it stands only
where it cannot be somebody's name: the cells of its row may have slipped by a column.
"""

from __future__ import annotations

import re

from core.errors import SkipRecord
from core.models import LONGEST

_WORD = re.compile(
    r"ext:[\w.-]{1,40}"  # OneRoster's own way to say a word of one's own
    r"|[a-z][A-Za-z_]{0,30}"  # no name begins with a small letter
    r"|[A-Z]{1,3}"  # UI, PK
    r"|(?i:grade|year|class|level|form|pre|post|kindergarten)[ _-][A-Za-z]{1,12}"  # Grade Eleven
    r"|(?=[^\d]{0,20}\d)[A-Za-z0-9 .:/+_-]{1,20}"  # Grade 10, 7th, K-3: no name has a digit
)
_SIGN = r"[^@\s,;:<>()\[\]\\\"\u2018\u2019\u201c-\u201e\u00ab\u00bb{0}]"
_ADDRESS = re.compile(f"{_SIGN.format('')}+@{_SIGN.format('.')}+(?:[.]{_SIGN.format('.')}+)*")


def unknown_word(field: str, word: str) -> str:
    """Return ``field=word`` for a word of a vocabulary that is not known (``Record.unknown``).

    A word that might be somebody's name becomes ``?``.
    """
    return f"{field}={word if _WORD.fullmatch(word) else '?'}"


def is_address(text: str) -> bool:
    """Say whether a text may be an email address: one ``@``, something on both sides, no blank.

    What people and programs put around one is no part of it: ``mailto:``, brackets, quotes, a full
    stop at the end.

    One that is too long for the model is left to it: it says so.
    """
    return len(text) > LONGEST or _ADDRESS.fullmatch(text) is not None


def no_address(key: str, column: str = "email") -> SkipRecord:
    """Return the finding about a value of ``column`` that is not an address."""
    return SkipRecord(
        f"{column} is no email address: it was left out, and the rest of the row is used.",
        rule="email-format",
        column=column,
        key=key,
        hint="Write one address, like name@school.example, without blanks.",
    )
