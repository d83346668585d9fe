"""Which format a file is, found from its headers and its files' names (file-rules.md 2.2, 4.2)."""

from __future__ import annotations

from pathlib import Path

from connectors.files.file_set import open_files
from core.errors import FileRefused, IncompleteFetch

_USER = frozenset({"firstname", "lastname", "email"})
_FLEX = frozenset({"crd_id", "first_name", "last_name"})


def recognise(path: Path) -> list[str]:
    """Return the names of the connectors whose file this is; none: it is none that is known."""
    try:
        with open_files(path) as files:
            names = {file.name.casefold() for file in files.files()}
            if {"users.csv"} & names and names & {"orgs.csv", "manifest.csv"}:
                return ["oneroster_csv"]
            if "students.csv" in names and names & {"schools.csv", "teachers.csv"}:
                return ["clever_csv"]
            found = files.files()
            if len(found) != 1:
                return []
            header = set(found[0].header().folded)
    except (FileRefused, IncompleteFetch):
        return []
    if header >= _FLEX:
        return ["finra_flex"]
    if header >= _USER:
        return ["user_csv"]
    return []
