"""The reference (``docs/reference.md``), made from the program itself, and what else is generated.

``make docs`` writes it; a test holds it current. Whatever the program cannot say of itself (what
a key of the district file means) stands here in a table, and a key without a sentence is an error.

One file, because each section of the page is one function beside the next.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from connectors.contract.connector import ConnectorConfig
from connectors.installed import accept, installed
from core import errors
from core.output import told
from core.settings import (
    DistrictSettings,
    Grace,
    LimitOverride,
    LimitRule,
    Limits,
    Pause,
    SourceSettings,
)
from rostersync.cli.app import app
from rostersync.cli.printing.words import CAPABILITIES
from rostersync.tools.reference_words import (
    DISTRICT_KEYS,
    ENVIRONMENT,
    EXIT_CODES,
    JSON_SHAPES,
    STATUSES,
)
from sync.rules import limits
from sync.rules.reasons import as_markdown as reasons
from sync.rules.situations import SCHOOL_TABLE, TABLE
from sync.run.outcome import CODES

HEAD = """\
# Reference

Made from the program by `make docs`; do not edit by hand. A test holds it current.

[Commands](#commands) · [Exit codes](#exit-codes) · [Statuses](#statuses) · [JSON](#json) ·
[The district file](#the-district-file) · [Connectors](#connectors) ·
[Environment variables](#environment-variables)
"""
_SHARED = {"--database", "--json", "--verbose", "--log"}


def reference() -> str:
    """Return the page, whole."""
    parts = (
        [HEAD],
        _commands(),
        _exit_codes(),
        _statuses(),
        _shapes(),
        _district_file(),
        _connectors(),
        _environment(),
    )
    return "\n".join(line for part in parts for line in part).rstrip() + "\n"


def with_tables(page: str) -> str:
    """Return a page with what stands between its ``generated`` marks made anew."""
    tables = {
        "situations": _situations(TABLE),
        "schools": _situations(SCHOOL_TABLE),
        "limits": list(_limits()),
        "examples": list(_examples()),
    }
    for name, lines in tables.items():
        page = re.sub(
            rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)",
            lambda found, lines=lines: found[1] + "\n".join(lines) + "\n" + found[2],  # type: ignore[misc]
            page,
            flags=re.S,
        )
    return page


def pages(docs: Path) -> dict[Path, str]:
    """Return every generated page: where it stands, and what it should say."""
    decides = docs / "how-it-decides.md"
    return {
        docs / "reference.md": reference(),
        docs / "reasons.md": reasons(),
        decides: with_tables(decides.read_text(encoding="utf-8")),
    }


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield a Markdown table."""
    head = list(head)
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _situations(rows: Iterable[Any]) -> list[str]:
    return list(
        table(
            ("what is found", "what follows", "code"),
            ((row.means, row.action.replace("_", " "), f"`{row.reason}`") for row in rows),
        )
    )


_GROUPS = {
    limits.SCHOOL_ROLE: "one role at one school",
    limits.DISTRICT_ROLE: "one role in the whole district",
    limits.DISTRICT: "the whole district",
}


def _limits() -> Iterator[str]:
    rules = {scope: getattr(Limits(), scope) for scope in limits.SCOPES}
    yield from table(
        ("group", "share", "at least"),
        ((_GROUPS[scope], f"{rule.percent} %", str(rule.least)) for scope, rule in rules.items()),
    )


def _examples() -> Iterator[str]:
    def allowed(scope: str, people: int) -> str:
        rule = getattr(Limits(), scope)
        return str(limits.allowed_in(limits.Group(1, scope), people, rule))

    yield from table(
        ("people in the group", "of a role may leave", "of the whole district may leave"),
        (
            (f"{n:,}", allowed(limits.SCHOOL_ROLE, n), allowed(limits.DISTRICT, n))
            for n in (3, 22, 100, 600, 10_000)
        ),
    )


# ---------------------------------------------------------------------------------- commands


def _commands() -> Iterator[str]:
    yield "## Commands"
    yield ""
    yield (
        "Every command takes `--help`, and `--database URL` unless it needs none. Those that print"
        " a result take `--json`: exactly one JSON document on stdout, everything else on stderr."
        " `--verbose` says each step of the work on stderr, `--log json` as JSON lines; no step"
        " names a person. See [Finding a fault](design/debugging.md)."
    )
    parser = typer.main.get_command(app)
    for name, summary, call in _all_commands():
        yield ""
        yield f"### `rostersync {name}`"
        yield ""
        yield summary
        parameters = list(_parameters(call, _flags(parser, name)))
        arguments = " ".join(word for word, info, _ in parameters if _is_argument(info))
        options = [one for one in parameters if not _is_argument(one[1]) and one[0] not in _SHARED]
        yield ""
        yield f"`rostersync {name}{' ' + arguments if arguments else ''}`" + (
            " and options:" if options else ""
        )
        if options:
            yield ""
            yield from table(
                ("option", "does"),
                ((f"`{word}`", _option_help(info, default)) for word, info, default in options),
            )
    yield ""


def _all_commands() -> Iterator[tuple[str, str, Any]]:
    found: list[tuple[str, str, Any]] = []
    for prefix, room in (("", app), *_groups()):
        for info in room.registered_commands:
            call: Any = info.callback
            text = inspect.cleandoc(info.help or call.__doc__ or "")
            name = info.name or call.__name__
            found.append((f"{prefix}{name}", text.replace("``", "`"), call))
    yield from sorted(found, key=lambda one: one[0])


def _groups(under: typer.Typer = app, prefix: str = "") -> Iterator[tuple[str, typer.Typer]]:
    for group in under.registered_groups:
        if group.typer_instance is not None and group.name is not None:
            yield f"{prefix}{group.name} ", group.typer_instance
            yield from _groups(group.typer_instance, f"{prefix}{group.name} ")


def _flags(parser: Any, name: str) -> dict[str, str]:
    """Return parameter → how the parser of a command really wants it written."""
    for word in name.split():
        parser = parser.commands[word]
    return {one.name: one.opts[0] for one in parser.params}


def _parameters(call: Any, flags: Mapping[str, str]) -> Iterator[tuple[str, Any, Any]]:
    """Yield (as it is typed, what typer knows of it, its default)."""
    hints = get_type_hints(call, include_extras=True)
    for parameter in inspect.signature(call).parameters.values():
        hint = hints.get(parameter.name, parameter.annotation)
        if get_origin(hint) is not Annotated:
            continue  # the context
        kind, info = get_args(hint)[:2]
        required = parameter.default is inspect.Parameter.empty
        if _is_argument(info):
            word = info.metavar or parameter.name.upper()
            yield word if required or word.startswith("[") else f"[{word}]", info, None
            continue
        flag = flags[parameter.name]
        words = [one.value for one in _core(kind)] if _is_choice(kind) else []
        value = "" if _core(kind) is bool else f" {info.metavar or _value_word(flag, kind)}"
        default = None if required else parameter.default
        yield flag if flag in _SHARED else f"{flag}{value}", info, (default, required, words)


def _is_choice(kind: Any) -> bool:
    return inspect.isclass(_core(kind)) and issubclass(_core(kind), Enum)


def _value_word(flag: str, kind: Any) -> str:
    """Return the word that stands for an option's value: ``NUMBER``, or ``ROLE`` for a choice."""
    if get_origin(_core(kind)) is list:
        kind = get_args(_core(kind))[0]
    return flag.lstrip("-").upper() if _is_choice(kind) else _type_word(kind).upper()


def _is_argument(info: Any) -> bool:
    return isinstance(info, typer.models.ArgumentInfo)


def _option_help(info: Any, default: Any) -> str:
    value, required, words = default
    text = (info.help or "").strip()
    if words:
        text += f" One of {', '.join(f'`{word}`' for word in words)}."
    if required:
        return f"{text} Required."
    if isinstance(value, Enum):
        value = value.value
    if value in (None, False, True, ()) or info.show_default is False:
        return text
    return f"{text} Default: {value}."


# ------------------------------------------------------------------------------------ answers


def _exit_codes() -> Iterator[str]:
    yield "## Exit codes"
    yield ""
    names: dict[int, list[str]] = {}
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, errors.RosterSyncError):
            names.setdefault(kind.exit_code, []).append(f"`{kind.code}`")
    yield from table(
        ("code", "means", "`error.code` in JSON"),
        (
            (str(code), means, ", ".join(dict.fromkeys(names.get(code, []))))
            for code, means in EXIT_CODES.items()
        ),
    )
    yield ""
    yield (
        "Of several (sources, `sync --all`) the most serious wins: 1, 2, 14, 15, 12, 11, 10, 13,"
        " 0. One district's failure never stops the others."
    )
    yield ""


def _statuses() -> Iterator[str]:
    yield "## Statuses"
    yield ""
    codes = CODES | {"refused": "2, 14 or 15"}
    yield from table(
        ("status", "exit code", "means"),
        ((f"`{status}`", str(codes[status]), means) for status, means in STATUSES.items()),
    )
    yield ""


def _shapes() -> Iterator[str]:
    yield "## JSON"
    yield ""
    yield (
        "Fields may be added; none of these goes away or changes its meaning. Times are UTC."
        ' On failure the document is `{"error": {"code", "message", "hint"}}`; `sync`, `apply`,'
        " `approve` and `undo` print their own shape, with `error` in it, once the district or the"
        " plan is found."
    )
    for name, (where, fields) in JSON_SHAPES.items():
        yield ""
        yield f"### {name}"
        yield ""
        yield where
        yield ""
        yield from table(
            ("field", "means"), ((f"`{field}`", text) for field, text in fields.items())
        )
    yield ""


# ------------------------------------------------------------------------------ district file

_TABLES: tuple[tuple[str, type[BaseModel]], ...] = (
    ("[[district]]", DistrictSettings),
    ("[[district.pause]]", Pause),
    ("[district.grace]", Grace),
    ("[district.limits]", Limits),
    ("a limit", LimitRule),
    ("[[district.limits.override]]", LimitOverride),
    ("[[district.source]]", SourceSettings),
)


def _district_file() -> Iterator[str]:
    yield "## The district file"
    yield ""
    yield (
        "TOML, UTF-8. One file may hold several districts. `rostersync load` checks all of it"
        " before it changes anything, and names the key and the line of whatever is wrong."
    )
    for title, model in _TABLES:
        yield ""
        yield f"### `{title}`" if title.startswith("[") else f"### {title.capitalize()}"
        yield ""
        rows = []
        for name, field in model.model_fields.items():
            key = field.alias or name
            means = DISTRICT_KEYS[title].get(key)
            if means is None:
                raise LookupError(f"the key {key} of {title} has no sentence in the reference")
            rows.append((f"`{key}`", _type_word(field.annotation), _default(field), means))
        yield from table(("key", "value", "default", "means"), rows)
    yield ""


# --------------------------------------------------------------------------------- connectors


def _connectors() -> Iterator[str]:
    yield "## Connectors"
    yield ""
    yield (
        "What goes into `[district.source.config]`. A secret is given by reference: `env:NAME` or"
        " `file:PATH`. Connectors of your own are listed by `rostersync connectors` and told in"
        " [Add a connector](add-a-connector.md)."
    )
    yield ""
    yield "Fields that every connector has:"
    yield ""
    yield from _fields(ConnectorConfig)
    shared = set(ConnectorConfig.model_fields)
    for entry in installed():
        if entry.distribution != "rostersync":
            continue
        kind = entry.load(accept)
        yield ""
        yield f"### `{kind.name}`"
        yield ""
        yield f"{kind.title}. Version {kind.version}." + (
            f" The vendor's side: <{kind.docs}>." if kind.docs else ""
        )
        flags = [name for name, has in asdict(kind.capabilities).items() if has is True]
        if flags:
            yield ""
            yield from (f"- {CAPABILITIES[flag]}" for flag in flags)
        yield ""
        yield from _fields(kind.config_model, without=shared)
    yield ""


def _fields(model: type[BaseModel], without: Iterable[str] = ()) -> Iterator[str]:
    rows = []
    for path, field in _flat(model, set(without)):
        secret = ", secret" if _is_secret(field.annotation) else ""
        rows.append(
            (
                f"`{path}`",
                f"{_type_word(field.annotation)}{secret}",
                _default(field),
                field.description or "",
            )
        )
    yield from table(("field", "value", "default", "means"), rows)


def _flat(
    model: type[BaseModel], without: set[str], prefix: str = ""
) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        key = field.alias or name
        if name in without:
            continue
        yield f"{prefix}{key}", field
        inner = _core(field.annotation)
        if inspect.isclass(inner) and issubclass(inner, BaseModel):
            yield from _flat(inner, set(), f"{prefix}{key}.")


# -------------------------------------------------------------------------------------- words


def _environment() -> Iterator[str]:
    yield "## Environment variables"
    yield ""
    yield from table(
        ("variable", "means"), ((f"`{name}`", means) for name, means in ENVIRONMENT.items())
    )
    yield ""


def _core(annotation: Any) -> Any:
    """Return a type without Annotated and without None."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        inner = [one for one in get_args(annotation) if one is not type(None)]
        return _core(inner[0])
    return annotation


def _is_secret(annotation: Any) -> bool:
    return _core(annotation) is SecretStr


_WORDS = {
    str: "text", int: "number", float: "number", bool: "true or false", SecretStr: "text",
    dict: "table", Path: "path",
}  # fmt: skip


def _type_word(annotation: Any) -> str:
    kind = _core(annotation)
    origin = get_origin(kind)
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in get_args(kind))
    if origin in (tuple, list, set, frozenset):
        inner = _type_word(get_args(kind)[0])
        return "tables" if inner == "table" else f"list of {inner}"
    if inspect.isclass(origin or kind):
        bare: Any = origin or kind
        if issubclass(bare, Enum):
            return " or ".join(f"`{one.value}`" for one in bare)
        if issubclass(bare, BaseModel):
            return "table"
        for known, word in _WORDS.items():
            if bare is known:
                return word
    return str(getattr(kind, "__name__", kind)).lower()


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        parts = (f"{name} = {_toml(one)}" for name, one in value if not _empty(one))
        inner = ", ".join(parts)
        return f"`{{ {inner} }}`" if "{" not in inner else "see there"
    return "" if _empty(value) else f"`{_toml(value)}`"


def _empty(value: Any) -> bool:
    return value is None or value == () or value == {} or value == ""


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    if isinstance(value, BaseModel):
        return "{ " + ", ".join(f"{name} = {_toml(one)}" for name, one in value) + " }"
    return str(value)


def main(docs: Path | None = None) -> int:
    """Write every generated page of this checkout; return 0."""
    for path, text in pages(docs or Path(__file__).parents[2] / "docs").items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {path.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(told(main))
