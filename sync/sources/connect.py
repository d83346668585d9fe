"""From a source's config to its connector: checked when loaded, opened when read.

In the config a secret is a reference (``env:NAME``, ``file:PATH``); it becomes a ``SecretStr`` only
in ``open_connector``, when it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, get_args

from pydantic import BaseModel, SecretStr, ValidationError

from connectors.contract.connector import Connector, ConnectorConfig
from connectors.installed import load
from core.district_file import Problem, models_in, problems_of
from core.errors import ConfigError
from core.secrets import HOW_TO, is_reference, read_secret
from core.steps import log_of, note
from core.toml_lines import Path

log = log_of(__name__)

Replace = Callable[[Path, object], object]


class SourceRow(Protocol):
    """The columns of ``sources`` that are needed here."""

    @property
    def name(self) -> str: ...  # noqa: D102 - as the column
    @property
    def connector(self) -> str: ...  # noqa: D102
    @property
    def config(self) -> Mapping[str, Any]: ...  # noqa: D102


def open_connector(source: SourceRow) -> Connector:
    """Return the connector of a source, with its secrets read now. Close it after use.

    Raises ``ConfigError``: an unknown connector, a config that it does not accept, a missing
    secret. No message holds a secret.
    """
    kind = load(source.connector)
    note(log, "open connector", source=source.name, connector=source.connector)
    config = _replace_secrets(
        kind.config_model, source.config, lambda _, value: SecretStr(read_secret(str(value)))
    )
    try:
        return kind(kind.config_model.model_validate(config))
    except ValidationError as error:
        problems = problems_of(error, kind.config_model, config)
        raise ConfigError(
            f"The config of the source {source.name} does not fit the connector {kind.name}: "
            + "; ".join(_said(problem) for problem in problems)
            + ".",
            hint="Correct the district file and run rostersync load with it.",
        ) from None


def close_connector(connector: Connector) -> None:
    """Let go of a connector; that it fails at that changes nothing any more, and is only logged."""
    try:
        connector.close()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may raise anything at all
        log.warning("The connector %s failed to close (%s).", connector.name, type(error).__name__)


def check_config(
    kind: type[Connector], config: Mapping[str, Any], under: Path = ()
) -> list[Problem]:
    """Return what is wrong with a config in the district file; ``under`` is where it stands.

    Secrets are not read, because they may not exist on the machine that checks.
    """
    in_clear: dict[Path, Problem] = {}

    def judge(path: Path, value: object) -> object:
        if not is_reference(value):
            in_clear[path] = Problem((*under, *path), f"is a secret in clear. {HOW_TO}")
        return SecretStr(str(value))

    values = _replace_secrets(kind.config_model, config, judge)
    try:
        kind.config_model.model_validate(values)
    except ValidationError as error:
        found = problems_of(error, kind.config_model, values, under)
        return [
            *in_clear.values(),
            *(problem for problem in found if problem.path[len(under) :] not in in_clear),
        ]
    return list(in_clear.values())


def secret_fields(model: type[ConnectorConfig]) -> list[str]:
    """Return the names of the config fields that hold secrets; those of inner tables are dotted."""
    return list(_secret_fields(model))


def _secret_fields(model: type[BaseModel], before: str = "") -> dict[str, None]:
    found: dict[str, None] = {}
    for name, field in model.model_fields.items():
        if _is_secret(field.annotation):
            found[f"{before}{name}"] = None
        for inner in models_in(field.annotation):
            found |= _secret_fields(inner, f"{before}{name}.")
    return found


def _replace_secrets(
    model: type[BaseModel], values: Mapping[str, Any], replace: Replace, path: Path = ()
) -> dict[str, Any]:
    """Return ``values`` with every value that ``model`` declares secret replaced."""
    fields = {
        key: field.annotation
        for name, field in model.model_fields.items()
        for key in (name, field.alias)
        if key
    }
    return {
        key: _replaced(fields[key], value, replace, (*path, key)) if key in fields else value
        for key, value in values.items()
    }


def _replaced(annotation: object, value: Any, replace: Replace, path: Path) -> Any:
    if value is None or isinstance(value, SecretStr):
        return value
    if isinstance(value, list):
        return [
            _replaced(annotation, item, replace, (*path, index)) for index, item in enumerate(value)
        ]
    if isinstance(value, Mapping):
        models = list(models_in(annotation))
        for model in models:  # in a union, a field is secret if any of its models says so
            value = _replace_secrets(model, value, replace, path)
        if not models and _is_secret(annotation):
            value = {key: _replaced(annotation, item, replace, path) for key, item in value.items()}
        return value
    return replace(path, value) if _is_secret(annotation) else value


def _is_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(_is_secret(part) for part in get_args(annotation))


def _said(problem: Problem) -> str:
    return f"{'.'.join(str(step) for step in problem.path) or 'it'} {problem.sentence}"
