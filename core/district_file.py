"""Reading a district file: TOML in, ``DistrictFile`` out, errors that name the key and the line.

``sync/sources/district_load.py`` reads with this, and says in the same words what a connector finds
wrong with its own config. No error quotes a value, so a secret given in clear is never echoed.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from core.errors import ConfigError
from core.secrets import read_small_file
from core.settings import DistrictFile
from core.toml_lines import Path, TomlLines

_SHOWN = 10
"""How many problems one error lists; an admin corrects fewer than that at a time."""


class Problem(NamedTuple):
    """One thing that is wrong: where, and what to do about it."""

    path: Path
    sentence: str


@dataclass(frozen=True, slots=True)
class DistrictDocument:
    """A district file that was read, and where its keys stand."""

    name: str
    file: DistrictFile
    lines: TomlLines

    def refuse(self, problems: Iterable[Problem]) -> ConfigError:
        """Return the error that lists ``problems`` with their keys and lines."""
        return _refusal(self.name, self.lines, problems)


def read_district_file(path: FilePath) -> DistrictDocument:
    """Read and check a district file, except for the config of its connectors.

    UTF-8, with or without a byte order mark. Raises ``ConfigError``.
    """
    try:
        text = read_small_file(path).decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError:
        raise ConfigError(
            f"There is no file {path}.", hint="Give the path of the district file (TOML)."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"The file {path} cannot be read: {error.strerror}.",
            hint="Check that it is a file and that this user may read it.",
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path.name} is not UTF-8 text (byte {error.start + 1}).",
            hint="Save it as UTF-8 in your editor.",
        ) from None
    except ValueError:
        raise ConfigError(
            f"{path.name} is no district file: it is no plain file, or larger than a megabyte.",
            hint="Give the path of the district file (TOML).",
        ) from None
    values = toml_of(text, path.name)
    lines = TomlLines(text)
    try:
        return DistrictDocument(path.name, DistrictFile.model_validate(values), lines)
    except ValidationError as error:
        raise _refusal(path.name, lines, problems_of(error, DistrictFile, values)) from None


def toml_of(text: str, name: str) -> dict[str, Any]:
    """Return what TOML text says. Raises ``ConfigError`` with the line; no value is repeated."""
    try:
        if _LONG_KEY.search(text):  # it would take the square of its length in time
            raise RecursionError
        values = tomllib.loads(text)
        if not _is_flat(values):
            raise RecursionError
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{name} is not valid TOML: {error}.",
            hint="Correct that line; texts stand in double quotes, lists in [ ].",
        ) from None
    except (RecursionError, ValueError):  # tables in tables in tables; a number of 5,000 digits
        raise ConfigError(
            f"{name} is nested too deeply, or holds a number that is too long.",
            hint="A district file needs neither; correct it.",
        ) from None
    return values


MOST_NESTED = 32
"""Tables and lists inside one another; a district file has five."""
_NAME = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
_LONG_KEY = re.compile(
    rf"(?:^|[\[{{,])[ \t]*(?:{_NAME}[ \t]*\.[ \t]*){{{MOST_NESTED}}}", re.MULTILINE
)


def _is_flat(values: Any) -> bool:
    """Say whether no value lies deeper than a district file has it."""
    level = [values]
    for _ in range(MOST_NESTED):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return not level


def problems_of(
    error: ValidationError, model: type[BaseModel], values: Mapping[str, Any], under: Path = ()
) -> list[Problem]:
    """Translate what ``model`` found wrong with ``values``; ``under`` is where they stand."""
    return [
        Problem((*under, *place), _sentence(detail, model, place))
        for detail in error.errors(include_url=False, include_input=False)
        for place in [_place(detail, values)]
    ]


def _place(detail: ErrorDetails, values: Any) -> Path:
    """Return the key path of an error, without pydantic's own steps (names of union members)."""
    path: list[str | int] = []
    for step in (*detail["loc"], *detail.get("ctx", {}).get("path", ())):
        inside = isinstance(values, Mapping) and step in values
        if inside or (isinstance(values, list) and isinstance(step, int) and step < len(values)):
            values = values[step]
        elif detail["type"] != "missing" or step != detail["loc"][-1]:
            continue
        path.append(step)
    return tuple(path)


def _sentence(detail: ErrorDetails, model: type[BaseModel], place: Path) -> str:
    kind = detail["type"]
    context = detail.get("ctx", {})
    if kind == "missing":
        return "is missing; add it"
    if kind == "extra_forbidden":
        known = _keys_at(model, place[:-1])
        near = difflib.get_close_matches(str(place[-1]), known, n=1)
        if near:
            return f"is not a key here; did you mean {near[0]}?"
        return f"is not a key here; there are: {', '.join(known)}"
    if kind == "district_file":
        return str(context["message"])
    if kind == "value_error":
        return str(context.get("error", detail["msg"]))
    words = detail["msg"].replace("Input should", "should")
    return words[:1].lower() + words[1:]


def _keys_at(model: type[BaseModel], place: Path) -> list[str]:
    """Return the keys that the model at ``place`` under ``model`` knows."""
    for step in place:
        if isinstance(step, int):
            continue
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        inner = next(models_in(fields[step].annotation), None) if step in fields else None
        if inner is None:
            return []
        model = inner
    return [field.alias or name for name, field in model.model_fields.items()]


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models that a type annotation is built from (``tuple[Pause, ...]``: Pause)."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def _refusal(name: str, lines: TomlLines, problems: Iterable[Problem]) -> ConfigError:
    found = sorted(problems, key=lambda problem: lines.line(problem.path))
    said = [
        f"{name}, line {lines.line(path)}: {_key_name(path)} {sentence}"
        for path, sentence in found[:_SHOWN]
    ]
    if len(found) > _SHOWN:
        said.append(f"and {len(found) - _SHOWN} more.")
    return ConfigError(
        "\n".join(line if line.endswith((".", "?")) else f"{line}." for line in said),
        hint=f"Correct {name} and run the command again; nothing was changed.",
    )


def _key_name(path: Path) -> str:
    """Write a path as the file does, without the numbers of tables: the line tells those."""
    return ".".join(str(step) for step in path if not isinstance(step, int)) or "The file"
