"""The scenario that an installed connector brings along, for ``rostersync connector test NAME``."""

from __future__ import annotations

from collections.abc import Callable

from core.errors import ConfigError
from core.registry import Registered, registered
from rostersync.testing.scenario import Scenario

SCENARIOS = "rostersync.scenarios"
"""The entry point group of scenarios: the connector's name = a function that returns a Scenario."""


def scenario_of(name: str) -> Scenario:
    """Return the scenario that comes with the connector of that name.

    Raise ConfigError if none is installed with it, or if it is broken.
    """
    for entry in registered(SCENARIOS):
        if entry.name == name:
            return entry.load(_function)()
    raise ConfigError(
        f"The connector {name!r} brings no scenario to test it with.",
        hint=f"Its package declares one under the entry point group {SCENARIOS!r}; "
        "`rostersync connector new` writes an example.",
    )


def _function(entry: Registered, loaded: object) -> Callable[[], Scenario]:
    def scenario() -> Scenario:
        made = loaded() if callable(loaded) else loaded
        if not isinstance(made, Scenario):
            raise ConfigError(
                f"{entry.target}, from {entry.distribution} {entry.version}, gives no Scenario.",
                hint="The entry point names a function that returns a rostersync.testing.Scenario.",
            )
        return made

    return scenario
