"""Our own vendors import nothing that a plugin cannot: it is public in ``rostersync``."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import rostersync

CONNECTORS = Path(__file__).parents[2] / "connectors"
VENDORS = {
    "classlink": ["classlink.py"],
    "clever": sorted(f"clever/{path.name}" for path in (CONNECTORS / "clever").glob("*.py")),
    "gg4l": ["gg4l.py"],
    "oneroster": ["oneroster.py"],
    "clever_csv": ["clever_csv.py"],
    "finra_flex": ["finra_flex.py"],
}
OURS = ("connectors", "core", "sync", "rostersync")
PUBLIC_MODULES = {
    value.__name__
    for name in rostersync.__all__
    if isinstance(value := getattr(rostersync, name), ModuleType)
}


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (module, name) for every import from our packages in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OURS:
            yield from ((str(node.module), alias.name) for alias in node.names)


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendor_of_ours_imports_only_what_is_public(vendor: str) -> None:
    own = f"connectors.{vendor}"
    private = []
    for file in VENDORS[vendor]:
        for module, name in imported(CONNECTORS / file):
            if f"{module}.".startswith(f"{own}."):
                continue  # the vendor's own folder
            public = name in rostersync.__all__ and getattr(rostersync, name) is getattr(
                importlib.import_module(module), name
            )
            if not public and module not in PUBLIC_MODULES:
                private.append(f"{file}: {module}.{name}")
    assert private == []


@pytest.mark.parametrize("name", rostersync.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(rostersync, name) is not None


def test_a_type_checker_is_told_every_public_name() -> None:
    tree = ast.parse(Path(rostersync.__file__).read_text())
    (block,) = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    told = {
        alias.asname: f"{node.module}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert told == rostersync._HOME
