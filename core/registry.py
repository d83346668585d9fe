"""The registry: which connectors are installed, and where each comes from.

Built-in connectors and plugins use the same entry point group, ``rostersync.connectors``. Finding
them imports none of them, so that the command line starts quickly. A fault in one of them (it
cannot be imported, its name is taken twice) is reported when that one is asked for, and never keeps
the others from working.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, reduce
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path
from typing import TypeVar

from core.errors import ConfigError

CONNECTORS = "rostersync.connectors"
"""The entry point group of connectors: ``name = "module:Class"``."""

Loaded = TypeVar("Loaded")
Accept = Callable[["Registered", object], Loaded]
"""Checks what an entry point loaded: returns it typed, or raises ConfigError with a sentence."""


@dataclass(frozen=True, slots=True)
class Registered:
    """One name of an entry point group, as its distribution declares it; nothing is imported yet.

    ``distribution`` and ``version`` say where it comes from (``rostersync 0.1.0``), ``target``
    what it loads (``module:Class``). ``clash`` is the sentence that says why the name cannot be
    used, if two distributions claim it; otherwise it is empty.
    """

    name: str
    distribution: str
    version: str
    target: str
    clash: str = ""

    def load(self, accept: Accept[Loaded]) -> Loaded:
        """Import the target and return what ``accept`` makes of it.

        Raise ConfigError when the name is taken twice, when the import fails in whatever way, or
        when ``accept`` refuses what was imported. Each sentence names the distribution to repair.
        """
        if self.clash:
            raise ConfigError(
                self.clash, hint="Uninstall one of the two; which one reads a roster is no guess."
            )
        module, _, attributes = self.target.partition(":")
        try:
            loaded = reduce(getattr, attributes.split("."), importlib.import_module(module))
        except (Exception, SystemExit) as error:
            # A plugin's module may fail in any way, even exit, and must not stop anybody else.
            raise ConfigError(
                f"{self.name}, from {self.distribution} {self.version}, is disabled: "
                f"{self.target} cannot be imported ({_cause(error)}).",
                hint=f"Repair or uninstall the package {self.distribution}.",
            ) from error
        return accept(self, loaded)


def _cause(error: BaseException) -> str:
    # Other errors may quote values; these name modules and attributes only.
    if isinstance(error, ImportError | AttributeError):
        return f"{type(error).__name__}: {error}"
    return type(error).__name__


def registered(group: str = CONNECTORS) -> tuple[Registered, ...]:
    """Return every name of the group, in order of name, without importing anything.

    A name that two distributions claim appears once, with its ``clash``. Looking through all that
    is installed takes a good part of a small sync, so it is done again only after something was
    installed or removed.
    """
    return _registered_at(group, tuple(_state(Path(place)) for place in sys.path))


def _state(place: Path) -> tuple[str, int, int, int]:
    """Return what is different once something is installed in a place of ``sys.path``, or gone."""
    try:
        found = place.stat()
    except OSError:
        return str(place), 0, 0, 0
    return str(place), found.st_dev, found.st_ino, found.st_mtime_ns


@lru_cache(maxsize=8)
def _registered_at(
    group: str,
    state: tuple[tuple[str, int, int, int], ...],  # what the cache goes by
) -> tuple[Registered, ...]:
    found: dict[str, list[Registered]] = {}
    named: dict[int, tuple[str, str]] = {}  # a distribution's metadata is parsed once, not per name
    for entry in entry_points(group=group):
        if id(entry.dist) not in named:
            named[id(entry.dist)] = _named(entry.dist)
        found.setdefault(entry.name, []).append(_registered(entry, *named[id(entry.dist)]))
    return tuple(_settle(sorted(claims, key=_where)) for _, claims in sorted(found.items()))


def find(name: str, group: str = CONNECTORS) -> Registered:
    """Return the entry of that name; raise ConfigError, with the names there are, if none is."""
    entries = {entry.name: entry for entry in registered(group)}
    if name in entries:
        return entries[name]
    near = difflib.get_close_matches(name, entries, n=1)
    raise ConfigError(
        f"No connector is called {name!r}.",
        hint=f"Did you mean {near[0]!r}?"
        if near
        else f"Installed are: {', '.join(entries) or 'none'}.",
    )


def _named(distribution: Distribution | None) -> tuple[str, str]:
    """Return the name and version of a distribution, as far as it tells them."""
    metadata = distribution and distribution.metadata
    return (metadata and metadata["Name"]) or "an unknown package", (
        (metadata and metadata["Version"]) or ""
    )


def _registered(entry: EntryPoint, distribution: str, version: str) -> Registered:
    return Registered(
        name=entry.name,
        distribution=distribution,
        version=version,
        target=entry.value.partition("[")[0].strip(),
    )


def _where(entry: Registered) -> tuple[str, str]:
    return entry.distribution, entry.target


def _settle(claims: list[Registered]) -> Registered:
    first = claims[0]
    if len(claims) == 1:
        return first
    places = " and ".join(f"{claim.distribution} {claim.version}" for claim in claims)
    return Registered(
        name=first.name,
        distribution=", ".join(claim.distribution for claim in claims),
        version=", ".join(claim.version for claim in claims),
        target=first.target,
        clash=f"The name {first.name!r} is taken twice: by {places}.",
    )
