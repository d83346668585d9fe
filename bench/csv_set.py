"""Writes a OneRoster 1.1 CSV set of so many users into a folder; day 1 is a day on, 1 % changed."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.vendor import CHANGED, changing_day
from rostersync.emulator.files import write_oneroster
from rostersync.emulator.generator import District


def main() -> None:
    users, folder, day = int(sys.argv[1]), Path(sys.argv[2]), int((*sys.argv, "0")[3])
    folder.mkdir(parents=True, exist_ok=True)
    write_oneroster(District(users=users, days=(changing_day(CHANGED),)), folder, day=day)


if __name__ == "__main__":
    main()
