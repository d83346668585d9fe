"""Mapping rules of a source: ``our field = rule``, over the fields of the raw record.

A rule is text with places in braces: ``"{credentials.district_username}"``. A place names a path
into the raw record and may be piped through functions: ``{email|before:@|lower}``. In a list of
rules, the first that gives a value is used. A rule that gives nothing leaves the field empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import ConfigError
from core.models import PROFILE_FIELDS

_PLACE = re.compile(r"\{([^{}]*)\}")

WORDS: dict[str, Callable[[str, str], str]] = {
    "lower": lambda value, _: value.lower(),
    "upper": lambda value, _: value.upper(),
    "strip": lambda value, _: value.strip(),
    "digits": lambda value, _: re.sub(r"\D", "", value),
    "before": lambda value, mark: value.split(mark, 1)[0] if mark else value,
    "after": lambda value, mark: value.split(mark, 1)[1] if mark and mark in value else "",
    "zeros": lambda value, width: value.zfill(int(width or "0")) if value else "",
}
"""The functions that a place may be piped through, with the kind of their argument."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One field's rules, in the order in which they are tried."""

    field: str
    templates: tuple[str, ...]

    def value(self, fields: Mapping[str, Any]) -> str | None:
        """Return what the rules make of a raw record, or None."""
        for template in self.templates:
            value = _PLACE.sub(lambda place: _resolve(place.group(1), fields), template).strip()
            if value:
                return value
        return None


def places_of(rule: Rule) -> list[str]:
    """Return the fields of a raw record that a rule reads."""
    return [
        place.split("|", 1)[0].strip()
        for template in rule.templates
        for place in _PLACE.findall(template)
    ]


def read_rules(mapping: Mapping[str, Any], source: str) -> tuple[Rule, ...]:
    """Check the mapping of a source and return its rules. Raises ``ConfigError`` by key."""
    rules = []
    for field, value in sorted(mapping.items()):
        where = f"source {source}, mapping.{field}"
        if field not in PROFILE_FIELDS:
            raise ConfigError(
                f"{where}: there is no such field.",
                hint=f"Fields that can be mapped: {', '.join(PROFILE_FIELDS)}.",
            )
        templates = [value] if isinstance(value, str) else value
        if not isinstance(templates, Sequence) or not all(isinstance(t, str) for t in templates):
            raise ConfigError(f"{where}: a rule is text, or a list of texts.", hint=_EXAMPLE)
        for template in templates:
            _check(template, where)
        rules.append(Rule(field, tuple(templates)))
    return tuple(rules)


_EXAMPLE = 'Example: username = "{credentials.district_username}"'


def _check(template: str, where: str) -> None:
    rest = _PLACE.sub("", template)
    if "{" in rest or "}" in rest:
        raise ConfigError(f"{where}: a brace is not closed.", hint=_EXAMPLE)
    for place in _PLACE.findall(template):
        path, *words = place.split("|")
        if not path.strip():
            raise ConfigError(f"{where}: a place names no field.", hint=_EXAMPLE)
        for word in words:
            name, _, argument = word.partition(":")
            if name not in WORDS:
                raise ConfigError(
                    f"{where}: nothing is called '{name}'.",
                    hint=f"A place may be piped through: {', '.join(WORDS)}.",
                )
            if name == "zeros" and not (argument.isdecimal() and int(argument) <= 64):
                raise ConfigError(f"{where}: zeros wants a width, as zeros:8.", hint=_EXAMPLE)


def _resolve(place: str, fields: Mapping[str, Any]) -> str:
    path, *words = place.split("|")
    value: Any = fields
    for step in path.strip().split("."):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            value = None
    if value is None or isinstance(value, Mapping | list):
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    for word in words:
        name, _, argument = word.partition(":")
        text = WORDS[name](text, argument)
    return text
