"""The house: short files, small folders, and rooms that say what they are."""

from __future__ import annotations

import ast
import subprocess
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST = 400
MOST_FILES = 16
REASON = "One file, because"


def tracked(*patterns: str) -> list[Path]:
    """Return the files of the repository; those that are not added yet count, too."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in done.stdout.splitlines() if (path := ROOT / name).is_file()]


def docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""


def test_a_long_file_says_in_its_first_lines_why_it_is_one() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in tracked("*.py")
        if len(path.read_text("utf-8").splitlines()) > LONGEST and REASON not in docstring(path)
    ]
    assert silent == [], f"Longer than {LONGEST} lines: split it, or say '{REASON} …' at its top."


def test_no_folder_holds_more_files_than_a_reader_can_take_in() -> None:
    folders = Counter(path.parent for path in tracked())
    full = {str(one.relative_to(ROOT)): n for one, n in folders.items() if n > MOST_FILES}
    assert full == {}


def test_every_room_says_what_may_not_happen_in_it() -> None:
    rooms = tracked("sync/*/__init__.py", "connectors/*/__init__.py")
    assert len(rooms) > 10
    assert [str(one.parent.relative_to(ROOT)) for one in rooms if not docstring(one)] == []
    engine = [one for one in rooms if one.parent.parent.name == "sync"]
    assert [one.parent.name for one in engine if "Never:" not in docstring(one)] == []
