"""Writes the files of a bench's roster, each day's into a folder of its own.

    python -m bench.rosters.roster_files LAYOUT USERS FOLDER DAY...

``LAYOUT`` is ``oneroster-1.1``, ``oneroster-1.2``, ``clever`` or ``user``. ``-delta`` after a
OneRoster layout makes every day after the first one a set of what changed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.rosters.days import days_of
from rostersync.emulator.district.generator import District
from rostersync.emulator.vendors.files import write_clever, write_oneroster, write_user_csv


def write(layout: str, district: District, folder: Path, day: int) -> None:
    """Write one day."""
    folder.mkdir(parents=True)
    match layout.split("-"):
        case ["clever"]:
            write_clever(district, folder, day=day)
        case ["user"]:
            write_user_csv(district, folder / "users.csv", day=day)
        case ["oneroster", version, *delta]:
            write_oneroster(
                district, folder, day=day, version="1.2" if version == "1.2" else "1.1",
                mode="delta" if delta and day else "bulk",
            )  # fmt: skip


def main() -> None:
    layout, users, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    district = District(users=users, days=days_of(sys.argv[4:], users))
    for day in range(district.last_day + 1):
        write(layout, district, folder / f"day{day}", day)


if __name__ == "__main__":
    main()
