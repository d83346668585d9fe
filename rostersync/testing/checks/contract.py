"""What a connector declares before it reads anything."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pydantic import BaseModel, SecretStr, ValidationError

from connectors.contract.connector import ConnectorConfig
from core.models import Kind, Role
from rostersync.testing.bench import Bench, CheckFailed, check, demand
from rostersync.testing.scenario import Situation

_SECRET_WORDS = re.compile(r"secret|password|passphrase|token|bearer|private_key|api_key")
_NOT_SECRET = re.compile(r"_(url|type|path|seconds|name|field|header)$")


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, object]]:
    for name, field in model.model_fields.items():
        yield prefix + name, field.description or "", field.annotation
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from _fields(inner, f"{prefix}{name}.")


@check()
def the_connector_introduces_itself(bench: Bench) -> None:
    """A connector has a name of lower-case words, a version and a title of one line."""
    connector = bench.connector
    demand(
        re.fullmatch(r"[a-z][a-z0-9_]*", connector.name),
        f"the name {connector.name!r} is not lower-case letters, digits and underscores",
    )
    demand(connector.version.strip(), "the version is empty")
    demand(
        connector.title.strip() and "\n" not in connector.title,
        "the title is not one line of text",
    )


@check()
def the_streams_are_declared(bench: Bench) -> None:
    """A connector declares its streams and the kind of entry each builds; one builds users."""
    streams = bench.connector.streams
    demand(isinstance(streams, Mapping) and streams, "no streams are declared")
    demand(Kind.USER in streams.values(), "no stream builds users")


@check()
def the_config_has_the_common_fields(bench: Bench) -> None:
    """The config has the fields of every connector, and contacts are read only if asked for."""
    model = bench.connector.config_model
    demand(issubclass(model, ConnectorConfig), "config_model is no subclass of ConnectorConfig")
    roles = model.model_fields["roles"].get_default(call_default_factory=True)
    demand(Role.CONTACT not in roles, "contacts are read by default")


@check()
def every_config_field_is_documented(bench: Bench) -> None:
    """Each config field has a description, from which documentation and prompts are made."""
    silent = [name for name, said, _ in _fields(bench.connector.config_model) if not said.strip()]
    demand(not silent, f"no description: {', '.join(silent)}")


@check()
def unknown_config_keys_are_refused(bench: Bench) -> None:
    """A misspelt key of the district file is refused, never ignored."""
    with bench.scenario.open(Situation.ROSTER) as setting:
        bench.configure(setting)
        try:
            bench.connector.config_model.model_validate({**setting.config, "no_such_key": 1})
        except ValidationError as error:
            demand("no_such_key" in str(error), "the refusal does not name the unknown key")
            return
    demand(False, "a config with the key 'no_such_key' was taken")


@check()
def a_config_cannot_be_changed(bench: Bench) -> None:
    """A config is frozen: what was checked is what is used."""
    with bench.scenario.open(Situation.ROSTER) as setting:
        config = bench.configure(setting)
        try:
            config.roles = (Role.CONTACT,)  # type: ignore[misc]
        except ValidationError:
            return
    demand(False, "a field of the config could be set after validation")


@check()
def secrets_are_declared_as_secrets(bench: Bench) -> None:
    """A field for a secret is a SecretStr, so that no print or log can show it."""
    bare = [
        name
        for name, _, annotation in _fields(bench.connector.config_model)
        if _SECRET_WORDS.search(name)
        and not _NOT_SECRET.search(name)
        and SecretStr not in (annotation, *getattr(annotation, "__args__", ()))
        and not any(
            isinstance(inner, type) and issubclass(inner, BaseModel)
            for inner in (annotation, *getattr(annotation, "__args__", ()))
        )
    ]
    if bare:
        raise bench.once(
            CheckFailed(
                f"the config takes secrets in fields that are no SecretStr: {', '.join(bare)}."
                " Declare them as pydantic.SecretStr"
            ),
            "a secret is shown",
        )
