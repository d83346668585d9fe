r"""What programs write where a value belongs, read as what is meant (F16, F19).

Used by the connectors of every format, so that a spreadsheet's habits mean the same in a file and
in a server's answer. Names are taken as they are written: Null is a family name.

- A column of whole numbers with a gap comes out of many programs as ``1001.0``.
- ``="0012"`` and ``'0012`` keep a spreadsheet from eating the zeros.
- ``NULL``, ``\N``, ``N/A`` and the like say that there is nothing.
- ``#REF!`` and ``1.2E+11`` say that there was something, and that it is lost. It clears nothing
  (F15): what we have stays, and the value is listed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from core.errors import SkipRecord

_NOTHING = frozenset(
    ["null", "(null)", "<null>", "[null]", r"\n", "none", "n/a", "undefined", "-", "--", "[]", "{}"]
)
_TEXT_FORMULA = re.compile(r'="([^"]*)"')
_TEXT_MARK = re.compile(r"'\d[\w./-]*")
_WITH_A_POINT = re.compile(r"(?<![^\s,;:])(\d+)\.0+(?![^\s,;}])")
_ERROR = re.compile(r"#(?:N/[AD]|N[AV]|[A-ZÄÖÜ][A-ZÄÖÜ0-9_/]{1,13}[!?])")
"""Spreadsheet programs have an error in every language: #N/A, #REF!, #NAME?, #DIV/0!, #BEZUG!."""
_ROUNDED = re.compile(r"-?\d(?:[.,]\d+)?[eE]\+\d{1,3}")

SUSPECTED = re.compile(
    rb"=\"|'\d|\.0|null|\\n|none|n/a|undefined|(?:^|[,\"\s])(?:-|\[\]|\{\})",
    re.IGNORECASE,
)
"""Stands in every row in which ``meant`` changes something, and in few others."""


def meant(value: str) -> str:
    """Return what a value that is not a name means; blank for a word that says "nothing"."""
    if value.casefold() in _NOTHING:
        return ""
    if found := _TEXT_FORMULA.fullmatch(value):
        value = found.group(1).strip()
    elif _TEXT_MARK.fullmatch(value):
        value = value[1:]
    return _WITH_A_POINT.sub(r"\1", value) if ".0" in value else value


def meant_text(value: str) -> str:
    """Return a name without the formula that some programs put around every text."""
    found = _TEXT_FORMULA.fullmatch(value)
    return found.group(1).strip() if found else value


def lost(value: str, column: str, key: str | None = None) -> SkipRecord | None:
    """Return the finding about a value that a spreadsheet has lost; None for any other value."""
    if value[:1] == "#" and _ERROR.fullmatch(value):
        return SkipRecord(
            f"{column} holds an error of a spreadsheet (like #REF!): the value is lost.",
            rule="spreadsheet-error",
            column=column,
            key=key,
            hint="Mend the formula, paste the column as values, and export again.",
        )
    if "+" in value and _ROUNDED.fullmatch(value):
        return SkipRecord(
            f"{column} was rounded by a spreadsheet (like 1.0E+05): the number is lost.",
            rule="scientific-number",
            column=column,
            key=key,
            hint="Format the column as text before the numbers are pasted, and export again.",
        )
    return None


def leave_out_the_lost(
    values: dict[str, Any], key: str, columns: Mapping[str, str], doubts: list[SkipRecord]
) -> list[str]:
    """Take the lost values out of what a record says of a person; return their fields.

    ``columns`` maps a field to the column or field that it was read from. For each of them
    ``doubts`` gets a finding.
    """
    found = []
    for name, value in values.items():
        if type(value) is str and (value[:1] == "#" or "+" in value):
            problem = lost(value, columns.get(name, name), key)
            if problem is not None and name != "external_id":
                doubts.append(problem)
                found.append(name)
    for name in found:
        values[name] = None
    return found
