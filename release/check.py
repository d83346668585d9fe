"""Builds a release and tries it as its users will: `make release-check`.

The source distribution is built from the checkout and the wheel from the source distribution, both
are checked, and the wheel is installed on each Python that the project supports and this machine
has. There the program tells its version, syncs a made-up district and tests its own connectors. A
Python that is not here is named; nothing is published.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).parents[1]
DIST = PROJECT / "dist"
VERSIONS = ("3.11", "3.12", "3.13")
TOOLS = ("build>=1.2", "twine>=6")
CONNECTORS = ("oneroster_csv", "clever_csv", "user_csv", "finra_flex")


def main() -> int:
    """Do all of it; return 0 if everything that could be tried went well."""
    with tempfile.TemporaryDirectory(prefix="rostersync-release-") as name:
        folder = Path(name)
        wheel = _build(folder / "tools")
        tried, missing = [], []
        for version in VERSIONS:
            python = interpreter(version, os.environ.get("PYTHONS", "").split())
            if python is None:
                missing.append(version)
                continue
            _try(python, wheel, folder / version)
            tried.append(version)
    _say(f"release-check: {wheel.name} works on Python {', '.join(tried) or 'none'}")
    if missing:
        _say(
            f"release-check: not tried on Python {', '.join(missing)}: not found on this machine."
            " Name it with PYTHONS='/path/to/python ...', and try it before you publish."
        )
    return 0 if tried else 1


def interpreter(version: str, named: Sequence[str] = ()) -> str | None:
    """Return a Python of this version, of those named or on the PATH, that really starts."""
    for candidate in (*named, f"python{version}", "python3", sys.executable):
        try:
            done = subprocess.run(
                [candidate, "-c", "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
        except OSError:
            continue
        if done.returncode == 0 and done.stdout.strip() == version:
            return candidate
    return None


def _build(folder: Path) -> Path:
    """Build both distributions into ``dist/`` and check them; return the wheel."""
    venv.create(folder, with_pip=True, symlinks=True)
    python = folder / "bin" / "python"
    _run(python, "-m", "pip", "install", "--quiet", *TOOLS)
    shutil.rmtree(DIST, ignore_errors=True)
    _run(python, "-m", "build", "--outdir", DIST, PROJECT)
    built = sorted(DIST.iterdir())
    _run(python, "-m", "twine", "check", "--strict", *built)
    (wheel,) = DIST.glob("*.whl")
    return wheel


def _try(python: str, wheel: Path, folder: Path) -> None:
    """Install the wheel and what it needs, and use it where nothing of the checkout is found."""
    _run(python, "-m", "venv", folder / "venv")
    bin_ = folder / "venv" / "bin"
    work = folder / "work"
    work.mkdir()
    _run(bin_ / "python", "-m", "pip", "install", "--quiet", wheel)
    _run(bin_ / "python", "-m", "pip", "check")
    _run(bin_ / "rostersync", "--version", cwd=work)
    _run(bin_ / "python", "-I", "-m", "rostersync.tools.demo", cwd=work)
    for name in CONNECTORS:
        _run(bin_ / "rostersync", "connector", "test", name, cwd=work)


def _run(*command: str | Path, cwd: Path = PROJECT) -> None:
    words = [str(word) for word in command]
    _say(f"release-check: {' '.join(Path(word).name if '/' in word else word for word in words)}")
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}release-check: that failed; nothing can be released.")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
