"""Builds the wheel so that it takes no name but ``rostersync`` where it is installed.

The repository keeps ``core``, ``connectors`` and ``sync`` beside ``rostersync``. As top-level
packages of a wheel they would collide with every other project that calls a package ``core``. So
the wheel holds them inside, as ``rostersync._core`` and so on, and every reference to them is
rewritten on the way: imports, the entry points, and strings that hold the name of a module. Sources
are changed at the places that Python's own parser names, so line numbers stay what they are in the
repository. The checkout and an editable installation of it are untouched.

Docs: https://hatch.pypa.io/latest/plugins/build-hook/custom/
"""

from __future__ import annotations

import ast
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OUTER = "rostersync"
"""The one top-level package of the wheel."""

_TAKES_A_MODULE = frozenset({"getLogger", "import_module", "__import__", "find_spec", "files"})
"""Functions whose first argument names a module, so that even a bare ``"core"`` is rewritten."""

Edit = tuple[int, int, str]
"""Start and end in the UTF-8 bytes of a source, and the text that belongs there."""


class ShadedWheel(BuildHookInterface[Any]):
    """Hands Hatchling the rewritten packages in place of those of the repository."""

    PLUGIN_NAME = "custom"
    _folder: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the rewritten packages into a temporary folder and include them from there."""
        if version != "standard":  # an editable installation uses the repository as it is
            return
        shade = Shade(Path(self.root), self.config["packages"])
        self._folder = tempfile.TemporaryDirectory(prefix="rostersync-wheel-")
        shade.write_packages(Path(self._folder.name))
        build_data["force_include"][str(Path(self._folder.name, OUTER))] = OUTER
        for group in self.metadata.core.entry_points.values():
            group.update({name: shade.name(target) for name, target in group.items()})

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the temporary folder."""
        if self._folder is not None:
            self._folder.cleanup()


class Shade:
    """Renames the packages ``inner`` of a repository: ``core`` to ``rostersync._core``."""

    def __init__(self, root: Path, inner: Sequence[str]) -> None:
        self._root = root
        self._inner = inner
        self._modules = {
            ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            for package in inner
            for path in (root / package).rglob("*.py")
        }
        self._packages = {name.rpartition(".")[0] for name in self._modules} | set(inner)
        words = "|".join(map(re.escape, inner))
        self._begins = re.compile(rf"(?:{words})(?=[.:]|\Z)")
        self._dotted = re.compile(rf"((?:{words})\.\w+)(?:\.\w+)*(?::[\w.]+)?")
        self._mentions = re.compile(rf"\b(?:import|from)\s+(?:{words})\b")

    def name(self, dotted: str) -> str:
        """Return the name in the wheel of a module, or of something in it; others stay as given."""
        return f"{OUTER}._{dotted}" if self._begins.match(dotted) else dotted

    def write_packages(self, folder: Path) -> None:
        """Write everything that the wheel installs below ``folder``."""
        self.write(self._root / OUTER, folder / OUTER)
        for package in self._inner:
            self.write(self._root / package, folder / OUTER / f"_{package}")

    def write(self, source: Path, target: Path) -> None:
        """Copy a folder, with every Python file in it rewritten."""
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        for path in target.rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            path.write_text(self.rewrite(text, path.relative_to(target)), encoding="utf-8")

    def rewrite(self, source: str, where: object = "a string") -> str:
        """Return a program with every reference to an inner package rewritten.

        Raise ValueError, naming ``where`` and the line, for a reference that cannot be rewritten.
        """
        data = source.encode()
        tree = ast.parse(source, str(where))
        for start, end, text in sorted(self._edits(tree, data, where), reverse=True):
            data = data[:start] + text.encode() + data[end:]
        return data.decode()

    def _edits(self, tree: ast.Module, data: bytes, where: object) -> Iterator[Edit]:
        lines = [0, *(found.end() for found in re.finditer(b"\n", data))]
        in_f_strings: set[ast.AST] = set()
        bare: set[ast.AST] = set()
        for node in ast.walk(tree):  # parents come before their children
            match node:
                case ast.ImportFrom(module=str(module), level=0) if self.name(module) != module:
                    statement = lines[node.lineno - 1] + node.col_offset
                    named = re.compile(rb"from[\s\\]+([\w.]+)").match(data, statement)
                    if named is None or named[1].decode() != module:
                        raise _refused(where, node, "this import is laid out in an unusual way")
                    yield named.start(1), named.end(1), self.name(module)
                case ast.Import(names=names):
                    for alias in names:
                        if self.name(alias.name) != alias.name:
                            start = lines[alias.lineno - 1] + alias.col_offset
                            end = start + len(alias.name.encode())
                            yield start, end, self._imported(alias)
                case ast.JoinedStr(values=values):
                    in_f_strings.update(values)
                    for part in values[:1]:
                        if isinstance(part, ast.Constant) and self._names_module(part.value):
                            raise _refused(where, node, "an f-string puts a module's name together")
                case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called)):
                    if called in _TAKES_A_MODULE:
                        bare.update(node.args[:1])
                case ast.Constant(value=str(value)) if node not in in_f_strings:
                    new = self._string(value, bare=node in bare)
                    if new != value and node.end_lineno and node.end_col_offset:
                        start = lines[node.lineno - 1] + node.col_offset
                        yield start, lines[node.end_lineno - 1] + node.end_col_offset, repr(new)

    def _imported(self, alias: ast.alias) -> str:
        """Return the rewritten name in ``import name``, which must bind what it bound before."""
        new = self.name(alias.name)
        if alias.asname is not None:
            return new
        package = alias.name.partition(".")[0]
        bound = f"{self.name(package)} as {package}"
        return bound if package == alias.name else f"{new}, {bound}"

    def _string(self, value: str, *, bare: bool) -> str:
        if self._names_module(value) or (bare and value in self._inner):
            return self.name(value)
        if self._mentions.search(value):
            try:
                return self.rewrite(value)  # a program in a string, for ``python -c``
            except SyntaxError:
                return value  # prose
        return value

    def _names_module(self, value: object) -> bool:
        """Say whether a string is the dotted name of a module here, or of something in one."""
        found = self._dotted.fullmatch(value.rstrip(".")) if isinstance(value, str) else None
        return found is not None and (found[1] in self._modules or found[1] in self._packages)


def _refused(where: object, node: ast.stmt | ast.expr, problem: str) -> ValueError:
    return ValueError(
        f"{where}, line {node.lineno}: {problem}, which the wheel cannot rewrite."
        " Write the module's whole name as it stands in the repository."
    )
