"""The connectors that are installed, built-in and third-party, each checked before it is used.

``core.registry`` finds the names. This layer knows what makes a class a connector, so the check is
here.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from connectors.contract.connector import Capabilities, Connector, ConnectorConfig
from connectors.contract.file_exchange import ExampleFile
from core.errors import ConfigError, UsageError
from core.models import Kind
from core.registry import Registered, find, registered


def installed() -> tuple[Registered, ...]:
    """Return every installed connector in order of name, without importing any."""
    return registered()


def load(name: str) -> type[Connector]:
    """Return the connector class of that name.

    Raise ConfigError when no connector has the name, when two distributions claim it, or when its
    package is broken; the sentence names the connector and its package.
    """
    return find(name).load(accept)


def problem(entry: Registered) -> str:
    """Return the sentence that says why this connector is disabled, or nothing if it works."""
    try:
        entry.load(accept)
    except ConfigError as error:
        return error.message
    return ""


def file_formats() -> dict[str, type[Connector]]:
    """Return every connector that reads files which somebody gives, by name.

    One that is broken is left out: it says why where it is asked for by name.
    """
    found = {}
    for entry in registered():
        try:
            connector = entry.load(accept)
        except ConfigError:
            continue
        if connector.capabilities.takes_uploads:
            found[entry.name] = connector
    return found


def template_of(name: str) -> Mapping[str, ExampleFile]:
    """Return the template of a file format. Raises ``UsageError`` where there is none."""
    formats = file_formats()
    template = formats[name].template() if name in formats else {}
    if not template:
        names = [one for one, connector in formats.items() if connector.template()]
        raise UsageError(
            f"There is no template {name}.", hint=f"Templates: {', '.join(sorted(names))}."
        )
    return template


def accept(entry: Registered, loaded: object) -> type[Connector]:
    """Return what an entry point loaded as a connector class, or raise ConfigError saying why not.

    Checks the class only; how it behaves is for the conformance suite (``rostersync.testing``).
    """
    if fault := _fault(entry.name, loaded):
        raise ConfigError(
            f"{entry.name}, from {entry.distribution} {entry.version}, is disabled: "
            f"{entry.target} {fault}.",
            hint=f"Repair or uninstall the package {entry.distribution}.",
        )
    assert isinstance(loaded, type)  # noqa: S101 - narrows the type; _fault() refused the rest
    return loaded


def _fault(name: str, loaded: object) -> str:
    if not (inspect.isclass(loaded) and issubclass(loaded, Connector)):
        return "is not a subclass of rostersync.Connector"
    if inspect.isabstract(loaded):
        missing = ", ".join(sorted(loaded.__abstractmethods__))
        return f"does not define {missing}"
    for attribute in ("name", "version", "title"):
        value = getattr(loaded, attribute, None)
        if not (isinstance(value, str) and value):
            return f"has no class attribute {attribute!r} (a text)"
    if loaded.name != name:
        return f"calls itself {loaded.name!r}, but its entry point {name!r}"
    model = getattr(loaded, "config_model", None)
    if not (inspect.isclass(model) and issubclass(model, ConnectorConfig)):
        return "has no class attribute 'config_model' (a subclass of rostersync.ConnectorConfig)"
    if not isinstance(getattr(loaded, "capabilities", None), Capabilities):
        return "has no class attribute 'capabilities' (a rostersync.Capabilities)"
    streams = getattr(loaded, "streams", None)
    if not (
        isinstance(streams, Mapping)
        and streams
        and all(isinstance(kind, Kind) for kind in streams.values())
    ):
        return "has no class attribute 'streams' (a mapping of stream names to rostersync.Kind)"
    return ""
