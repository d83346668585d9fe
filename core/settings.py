"""The district file: what an admin decides about districts, sources, pauses and limits.

``core/district_file.py`` reads the TOML into these. ``DistrictSettings`` is also what
``districts.settings`` keeps (without its sources), so the engine reads policy from nowhere else.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, model_validator
from pydantic_core import PydanticCustomError

from core.models import PROFILE_FIELDS, Role
from core.secrets import HOW_TO, is_reference

LOCKABLE_FIELDS: tuple[str, ...] = (*PROFILE_FIELDS, "role")
"""The fields that may be locked against the sources; ``role`` stands for all memberships."""

NUMBER_FIELDS: tuple[str, ...] = ("sis_id", "student_number", "staff_number", "state_id", "crd_id")
"""The numbers by which people are recognised across sources."""

_SLUG = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_SOURCE_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?")
_DOMAIN = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z0-9-]*[a-z0-9]")
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_MONTH_DAY = re.compile(r"\d\d-\d\d")


MOST = 10**9
"""A number of people, fetches or sources."""
MOST_DAYS = 36_500
"""A hundred years."""
YEARS = range(1970, 2200)
"""The years of which a day is told."""


def problem(message: str, *path: str | int) -> PydanticCustomError:
    """Return a validation error whose place is ``path`` under the model that raises it."""
    return PydanticCustomError("district_file", "{message}", {"message": message, "path": path})


def _slug(value: object) -> object:
    if isinstance(value, str) and (len(value) > 64 or not _SLUG.fullmatch(value)):
        raise problem("must be a short name of small letters, digits and hyphens")
    return value


def _source_name(value: object) -> object:
    if isinstance(value, str) and (len(value) > 64 or not _SOURCE_NAME.fullmatch(value)):
        raise problem("must be a short name of small letters, digits, hyphens and underscores")
    return value


def _timezone(value: object) -> object:
    if isinstance(value, str):
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            if not available_timezones():
                raise problem(
                    "cannot be checked, this machine has no time zone data; install tzdata"
                ) from None
            raise problem(
                "is not a time zone; give a name like America/Chicago (the IANA list)"
            ) from None
    return value


def is_domain(word: str) -> bool:
    """Say whether a word in small letters is an email domain."""
    return len(word) < 254 and _DOMAIN.fullmatch(word) is not None


def _domain(value: object) -> object:
    if isinstance(value, str):
        value = value.strip().lower().removeprefix("@")
        if not is_domain(value):
            raise problem("is not an email domain; give it like springfield.example")
    return value


def _clock(value: object) -> object:
    """Take ``"05:00"`` or TOML's own local time."""
    if isinstance(value, time):
        value = value.strftime("%H:%M")
    if isinstance(value, str) and not _TIME.fullmatch(value):
        raise problem('is not a time of day; give it like "05:00" (24 hours, local time)')
    return value


def _day(value: object) -> object:
    """Take ``"06-15"`` (every year), ``"2026-06-15"`` or TOML's own local date."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = value.isoformat()
    if isinstance(value, str):
        try:
            # 2000 is a leap year: 02-29 is a day of some years
            day = date.fromisoformat(f"2000-{value}" if _MONTH_DAY.fullmatch(value) else value)
        except ValueError:
            raise problem(
                'is not a day; give "06-15" for every year or "2026-06-15" for one'
            ) from None
        if not re.fullmatch(r"(\d{4}-)?\d\d-\d\d", value) or day.year not in YEARS:
            raise problem('is not a day; give "06-15" for every year or "2026-06-15" for one')
    return value


def _day_of_year(value: object) -> object:
    """Take ``"06-30"``: a day of every year."""
    if isinstance(value, str):
        try:
            date.fromisoformat(f"2000-{value}")
        except ValueError:
            value = None
    if not isinstance(value, str) or not _MONTH_DAY.fullmatch(value):
        raise problem('is not a day of the year; give it like "06-30" (month and day)')
    return value


def _secret_reference(value: object) -> object:
    if not is_reference(value):
        raise problem(f"is given in clear. {HOW_TO}")
    return value


def _lockable(value: object) -> object:
    if isinstance(value, str) and value not in LOCKABLE_FIELDS:
        raise problem(f"is not a field; it can be one of: {', '.join(LOCKABLE_FIELDS)}")
    return value


def _profile_field(value: object) -> object:
    if isinstance(value, str) and value not in PROFILE_FIELDS:
        raise problem(f"is not a field; it can be one of: {', '.join(PROFILE_FIELDS)}")
    return value


def _number_field(value: object) -> object:
    if isinstance(value, str) and value not in NUMBER_FIELDS:
        raise problem(f"is not a number; it can be one of: {', '.join(NUMBER_FIELDS)}")
    return value


Slug = Annotated[str, BeforeValidator(_slug)]
SourceName = Annotated[str, BeforeValidator(_source_name)]
Day = Annotated[str, BeforeValidator(_day)]
Percent = Annotated[StrictInt, Field(ge=0, le=100)]
Count = Annotated[StrictInt, Field(ge=0, le=MOST)]
Days = Annotated[StrictInt, Field(ge=0, le=MOST_DAYS)]


class _Settings(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=True
    )


class Grace(_Settings):
    """How long an absent person stays active: both numbers must be reached (S7)."""

    days: Days = 0
    fetches: Annotated[StrictInt, Field(ge=1, le=MOST)] = 1


def _check_period(start: str, end: str, names: tuple[str, str]) -> None:
    if len(start) != len(end):
        raise problem(
            f"must be written like {names[0]}: both with the year, or both without", names[1]
        )
    if len(start) == 10 and end < start:
        raise problem(f"is before {names[0]}", names[1])


class Pause(_Settings):
    """Whole local days, both ends included (S1). Without years: every year, may wrap new year."""

    start: Day
    end: Day
    mode: Literal["paused", "additions_only"] = "paused"

    @model_validator(mode="after")
    def _is_a_period(self) -> Self:
        _check_period(self.start, self.end, ("start", "end"))
        return self


class LimitRule(_Settings):
    """``allowed = max(least, floor(n * percent / 100))`` (L3)."""

    percent: Percent
    least: Count


class LimitOverride(LimitRule):
    """A different rule for one school, one role or both, perhaps for some days of the year."""

    school: str | None = None
    """A school's id or name; None: every school."""
    role: Role | None = None
    from_: Day | None = Field(default=None, alias="from")
    to: Day | None = None

    @model_validator(mode="after")
    def _is_a_period(self) -> Self:
        if (self.from_ is None) != (self.to is None):
            raise problem(
                "give both, from and to, or neither", "to" if self.from_ is None else "from"
            )
        if self.from_ is not None and self.to is not None:
            _check_period(self.from_, self.to, ("from", "to"))
        return self


class Limits(_Settings):
    """How much one source may do in a window before a person must approve (L2, L3, L6, L10)."""

    window_days: Annotated[StrictInt, Field(ge=1, le=366)] = 7
    school_role: LimitRule = LimitRule(percent=10, least=3)
    district_role: LimitRule = LimitRule(percent=10, least=3)
    district: LimitRule = LimitRule(percent=5, least=10)
    additions: LimitRule = LimitRule(percent=50, least=50)
    """Joining and coming back, of the district's active people (L6)."""
    blanked: LimitRule = LimitRule(percent=5, least=10)
    """People of whom a source says less than before, of its active people (L10)."""
    renamed: LimitRule = LimitRule(percent=5, least=10)
    """People whose given and family name both become others, of the source's active people."""
    moved: LimitRule = LimitRule(percent=5, least=10)
    """People all of whose schools become others, of the source's active people."""
    override: tuple[LimitOverride, ...] = ()


class SourceSettings(_Settings):
    """One source of a district. ``config`` is checked by its connector, not here."""

    name: SourceName
    connector: Annotated[str, Field(min_length=1, max_length=64)]
    precedence: Annotated[StrictInt, Field(ge=1, le=MOST)] = 1
    """If two sources disagree about a person, the lower number wins."""
    config: dict[str, Any] = Field(default_factory=dict)
    mapping: dict[str, Any] = Field(default_factory=dict)
    """Our field = rule; ``sync/sources/mapping.py`` reads the rules."""
    keep_when_missing: tuple[Annotated[str, BeforeValidator(_profile_field)], ...] = ()
    """Profile fields that keep their value when the source stops sending them (AC6); all others
    follow the source and are cleared."""
    own_numbers: tuple[Annotated[str, BeforeValidator(_number_field)], ...] = ()
    """Numbers of a scheme that only this source uses. They are compared only among its own records,
    so they neither join nor separate people of other sources."""


class DistrictSettings(_Settings):
    """One district of the file. Times are local times of ``timezone``."""

    slug: Slug
    name: Annotated[str, Field(min_length=1, max_length=255)]
    kind: Literal["school", "firm"] = "school"
    timezone: Annotated[str, BeforeValidator(_timezone)]
    directory: str = "."
    """Where relative paths in the configs of its sources begin. In the file: relative to the file,
    by default its folder; in the database: absolute."""
    email_domains: tuple[Annotated[str, BeforeValidator(_domain)], ...] = ()
    """Lower case. They bind files and hand entry (F9); empty binds nothing."""
    sync_times: tuple[Annotated[str, BeforeValidator(_clock)], ...] = ()
    grace: Grace = Grace()
    guard: Literal["explain", "approve", "off"] = "explain"
    year_end: Annotated[str, BeforeValidator(_day_of_year)] = "06-30"
    """The last day of a school year, MM-DD: only after a pause that spans it schools roll over."""
    freshness_hours: Annotated[StrictInt, Field(ge=1, le=24 * MOST_DAYS)] = 26
    run_minutes: Annotated[StrictInt, Field(ge=1, le=10_080)] = 480
    """A run that takes longer is ended; whatever it has read completely is kept."""
    retention_days: Days = 0
    """Days after which archived people may be purged; 0 keeps them."""
    notify: tuple[Annotated[str, BeforeValidator(_secret_reference)], ...] = ()
    """Secret references to the notification addresses, never the addresses themselves."""
    lock_on_edit: tuple[Annotated[str, BeforeValidator(_lockable)], ...] = ("role",)
    pause: tuple[Pause, ...] = ()
    limits: Limits = Limits()
    source: tuple[SourceSettings, ...] = ()

    @model_validator(mode="after")
    def _sources_differ(self) -> Self:
        names: set[str] = set()
        ranks: dict[int, str] = {}
        for index, source in enumerate(self.source):
            if source.name in names:
                raise problem(
                    f"the district has two sources named {source.name}; rename one",
                    "source", index, "name",
                )  # fmt: skip
            if source.precedence in ranks:
                raise problem(
                    f"{ranks[source.precedence]} and {source.name} have the same precedence;"
                    " give each its own number, 1 wins",
                    "source", index, "precedence",
                )  # fmt: skip
            names.add(source.name)
            ranks[source.precedence] = source.name
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The district's time zone."""
        return ZoneInfo(self.timezone)

    def stored(self) -> dict[str, Any]:
        """Return what ``districts.settings`` keeps: everything but the sources, as JSON."""
        return self.model_dump(mode="json", by_alias=True, exclude={"source"})


class DistrictFile(_Settings):
    """A whole district file."""

    district: tuple[DistrictSettings, ...] = ()

    @model_validator(mode="after")
    def _slugs_differ(self) -> Self:
        if not self.district:
            raise problem("holds no [[district]] table; add one")
        seen: set[str] = set()
        for index, district in enumerate(self.district):
            if district.slug in seen:
                raise problem(
                    f"two districts have the slug {district.slug}; rename one",
                    "district", index, "slug",
                )  # fmt: skip
            seen.add(district.slug)
        return self
