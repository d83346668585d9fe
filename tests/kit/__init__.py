"""Builders that tests of several rooms share, one module for each kind of district or roster."""

from __future__ import annotations

import sys
from pathlib import Path

PLUGIN = str(Path(__file__).parent / "plugin")


def plug_in() -> None:
    """Make the kits' own connectors findable, as those of an installed plugin are."""
    if PLUGIN not in sys.path:
        sys.path.append(PLUGIN)
