"""A development server for school rosters: synthetic districts, real HTTP, faults on request.

``Emulator(District(users=1000), vendor="clever")`` serves one district as one vendor would, on
loopback, from facts that the vendors publish. It shares no code with the connectors, and neither
imports the other, so a misreading of a vendor's documentation cannot hide in both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rostersync.emulator.district.generator import District
    from rostersync.emulator.emulator import Emulator
    from rostersync.emulator.server.faults import FAULTS, Fault

__all__ = ["FAULTS", "District", "Emulator", "Fault"]

_HOMES = {
    "District": "district.generator",
    "Emulator": "emulator",
    "FAULTS": "server.faults",
    "Fault": "server.faults",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use, so that `rostersync --help` does not pay for the server.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
