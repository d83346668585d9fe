"""The days of a bench's districts, named by one word each, so that a process can be given them."""

from __future__ import annotations

from collections.abc import Iterable

from rostersync.emulator.district.days import Changes, Day, Joins, Leaves, Touches

CHANGED = "0.01"
"""A day on which 1 % of the people change, come or leave."""
CHANGED_LITTLE = "0.001"
"""A day on which 0.1 % do: what an incremental fetch is for."""
TOUCHED = "touched"
"""A day on which every record is touched and nothing changes."""


def day_of(word: str, users: int) -> Day:
    """Return the day that a word names: ``touched``, or a share of people who change.

    Of each twenty eighteen change, one comes and one leaves; one person changes at least.
    """
    if word == TOUCHED:
        return Day(Touches())
    people = users * float(word)
    few = round(people / 20)
    return Day(Changes(max(1, round(people) - 2 * few)), Joins(few), Leaves(few))


def days_of(words: Iterable[str], users: int) -> tuple[Day, ...]:
    """Return the days that so many words name, for a district of so many users."""
    return tuple(day_of(word, users) for word in words)
