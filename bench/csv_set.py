"""Writes a OneRoster 1.1 CSV set of so many users into a folder."""

from __future__ import annotations

import sys
from pathlib import Path

from rostersync.emulator.files import write_oneroster
from rostersync.emulator.generator import District


def main() -> None:
    users, folder = int(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    write_oneroster(District(users=users), folder)


if __name__ == "__main__":
    main()
