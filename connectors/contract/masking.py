"""Masking: enough of a value to find it in its line, and no more. Used by reports."""

from __future__ import annotations

import re


def mask(value: str) -> str:
    """Return enough of a value to find it in its line, and no more.

    Short numbers, and numbers that a spreadsheet has changed, are shown in full. Of an address the
    domain is shown, because that may be what is wrong with it.
    """
    if re.fullmatch(r"[\d.,/+-]{1,4}|\d([.,]\d+)?[eE]\+?\d{1,3}", value):
        return value
    if not value:
        return ""
    name, at, domain = value.rpartition("@")
    if at and name and re.fullmatch(r"[\w.-]{1,80}", domain):
        return f"{name[0]}…@{domain}"
    return f"{value[0]}…"
