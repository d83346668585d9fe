"""Asks whether a library that we install has a known fault: ``make advisories``.

pip-audit (https://pypi.org/project/pip-audit/) asks OSV (https://osv.dev) about each line of
``release/locked.txt``. Exit code 1: there is an advisory. Where the tool or the service cannot be
reached, a sentence says so, and the code is 0: nothing was found out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SECONDS = 300


def asked(python: str, locked: Path) -> subprocess.CompletedProcess[str]:
    """Run pip-audit, which stands in the environment of ``python``."""
    return subprocess.run(
        [python, "-m", "pip_audit", "--requirement", str(locked), "--no-deps", "--disable-pip",
         "--vulnerability-service", "osv", "--format", "json", "--progress-spinner", "off"],
        capture_output=True, text=True, check=False, timeout=SECONDS,
    )  # fmt: skip


def advisories(document: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each advisory of a report: the library, its version, where it is mended."""
    for library in document["dependencies"]:
        for one in library.get("vulns", ()):
            mended = ", ".join(one.get("fix_versions") or ()) or "no version yet"
            yield f"{library['name']} {library['version']}: {one['id']}, mended in {mended}"


def main(python: str, locked: Path) -> int:
    """Print what is known against the locked versions; return 1 if there is anything."""
    try:
        answer = asked(python, locked)
        document = json.loads(answer.stdout)
        found = list(advisories(document))
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        sys.stdout.write("advisories: the service cannot be reached from here, so none was read.\n")
        return 0
    for line in found:
        sys.stdout.write(f"{line}\n")
    number = len(document["dependencies"])
    sys.stdout.write(f"advisories: {len(found)} against {number} libraries\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
