"""A vendor's server in a process of its own, which computes nothing while a client is measured.

    python -m bench.rosters.vendor VENDOR USERS DAY...

Ask for each day once before measuring: from then on its pages come out of memory. ``day N`` moves
on to a day; ``asked`` returns what was asked for since the last move.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

from bench.rosters.days import days_of
from connectors.installed import load
from rostersync.emulator import Emulator
from rostersync.emulator.district.generator import District
from sync.sources.connect import secret_fields


def _ready(connector: str, clear: dict[str, Any]) -> dict[str, Any]:
    """Return how the server is read: its config with and without secrets, and a page's records."""
    model = load(connector).config_model
    secrets, config = {}, dict(clear)
    for name in secret_fields(model):
        if name in clear:
            secrets[f"BENCH_{name.upper()}"] = clear[name]
            config[name] = f"env:BENCH_{name.upper()}"
    return {
        "connector": connector, "config": config, "secrets": secrets, "clear": clear,
        "page_size": model.model_fields["page_size"].default,
    }  # fmt: skip


def main() -> None:
    vendor, users = sys.argv[1], int(sys.argv[2])
    # GG4L's events are asked for by the time of the last reading: what changes tomorrow comes after
    # it, whatever the time of day.
    district = District(
        users=users, days=days_of(sys.argv[3:], users), first_day=datetime.now(UTC).date()
    )
    with Emulator(
        district, vendor, neighbours=0, rate_limit=1_000_000_000, bodies_in_memory=True
    ) as emulator:
        connector = {"oneroster12": "oneroster"}.get(vendor, vendor)
        print(json.dumps(_ready(connector, emulator.config())), flush=True)
        for line in sys.stdin:
            if line.startswith("day"):
                emulator.day = int(line.split()[1])
                emulator.requests.clear()
            had = emulator.requests
            asked = {"requests": len(had), "bytes": sum(one.bytes for one in had)}
            print(json.dumps(asked), flush=True)


if __name__ == "__main__":
    main()
