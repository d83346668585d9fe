"""Prints the lowest versions that pyproject.toml promises, as constraints for pip.

`make test-lowest` installs these and runs the quick tests on them, so that each promise is one that
was tried. Only what rostersync itself asks for is held down; what that asks for in turn, and the
tools of the developers, are the newest that fit.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def lowest(pyproject: Path) -> Iterator[str]:
    """Yield ``name==version`` for each dependency; refuse one that names no lowest version."""
    for line in tomllib.loads(pyproject.read_text())["project"]["dependencies"]:
        wanted = Requirement(line)
        floors = [one.version for one in wanted.specifier if one.operator in {">=", "~=", "=="}]
        if len(floors) != 1:
            raise ValueError(f"{pyproject}: {line!r} must name one lowest version, as name>=1.2")
        yield f"{canonicalize_name(wanted.name)}=={floors[0]}"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in lowest(Path(sys.argv[1])))
