"""A Clever server of its own process, its bodies made beforehand. Asked ``day N``, it moves on."""

from __future__ import annotations

import json
import sys

from rostersync.emulator import Emulator
from rostersync.emulator.days import Changes, Day, Joins, Leaves, Touches
from rostersync.emulator.generator import District

CHANGED = 0.01
"""The share of people who change, come or leave on each of the changing days."""


def script(changing: int) -> tuple[Day, ...]:
    """Return so many days on which 1 % changes, and one that touches every record."""
    one = Day(Changes(CHANGED * 0.9), Joins(CHANGED * 0.05), Leaves(CHANGED * 0.05))
    return (*(one for _ in range(changing)), Day(Touches()))


def main() -> None:
    users, changing = int(sys.argv[1]), int(sys.argv[2])
    district = District(users=users, days=script(changing))
    with Emulator(district, "clever", neighbours=0, rate_limit=1_000_000_000) as emulator:
        ready = {"config": emulator.config(), "last_day": district.last_day}
        print(json.dumps(ready), flush=True)
        for line in sys.stdin:
            emulator.day = int(line.split()[1])
            emulator.requests.clear()
            print(json.dumps({"day": emulator.day}), flush=True)


if __name__ == "__main__":
    main()
