"""Each numbered rule has a test that carries its number in its name."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
NUMBERS = {"l": range(1, 10), "p": range(1, 9), "s": range(1, 8), "f": range(1, 11),
           "i": range(1, 9), "c": range(13, 32)}  # fmt: skip
"""Limits, plans, seasons, files and fetches, people; and what others can do and so do we."""


def test_every_numbered_rule_is_carried_by_the_name_of_a_test() -> None:
    carried: set[str] = set()
    for file in TESTS.rglob("test_*.py"):
        for name in re.findall(r"^ *def test_(\w+)", file.read_text(), re.MULTILINE):
            carried |= set(re.findall(r"(?:^|_)([a-z]\d+)(?=_)", name))
    wanted = {f"{letter}{number}" for letter, range_ in NUMBERS.items() for number in range_}
    assert wanted - carried == set()
