"""A Clever server of its own process, its bodies made beforehand.

Asked ``day N`` it moves on, asked ``requests`` it says how many it had since.
"""

from __future__ import annotations

import json
import sys

from rostersync.emulator import Emulator
from rostersync.emulator.days import Changes, Day, Joins, Leaves, Touches
from rostersync.emulator.generator import District

CHANGED = 0.01
"""The share of people who change, come or leave on each of the changing days."""


CHANGED_LITTLE = 0.001
"""The share on the day that is read by its events only."""


def changing_day(share: float) -> Day:
    """Return a day on which so many people change, come or leave."""
    return Day(Changes(share * 0.9), Joins(share * 0.05), Leaves(share * 0.05))


def script(changing: int) -> tuple[Day, ...]:
    """Return so many days on which 1 % changes, one that touches every record, and a quiet one."""
    one = changing_day(CHANGED)
    return (*(one for _ in range(changing)), Day(Touches()), changing_day(CHANGED_LITTLE))


def main() -> None:
    users, changing = int(sys.argv[1]), int(sys.argv[2])
    district = District(users=users, days=script(changing))
    with Emulator(district, "clever", neighbours=0, rate_limit=1_000_000_000) as emulator:
        ready = {"config": emulator.config(), "touched_day": changing + 1}
        ready["quiet_day"] = district.last_day
        print(json.dumps(ready), flush=True)
        for line in sys.stdin:
            had = len(emulator.requests)
            if line.startswith("day"):
                emulator.day = int(line.split()[1])
                emulator.requests.clear()
            print(json.dumps({"day": emulator.day, "requests": had}), flush=True)


if __name__ == "__main__":
    main()
