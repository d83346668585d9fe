"""Quarantine: how often a failing source is still read, and when it is left alone. Pure.

Used by the engine after each reading, by scheduled runs before it, and by ``status``. A ``sync`` or
``plan`` by hand always tries: quarantine applies to scheduled runs only.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

PATIENT = 2
"""This many failures in a row change nothing: the next due time tries again."""

WAITS = (timedelta(hours=6), timedelta(hours=12), timedelta(hours=24), timedelta(hours=48))
"""How long a source is left alone after the third, fourth … failure in a row; then it stops."""

STOPPING = frozenset({"credentials_refused", "wrong_district"})
"""Errors that trying again cannot fix: a source that raises one is stopped at once."""

DISCOVERY_EVERY = timedelta(hours=24)

State = Literal["ok", "failing", "slowed", "stopped"]


class Health(BaseModel):
    """What ``sources.health`` keeps; ``{}`` is a source that never failed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    failures: int = 0
    """In a row."""
    code: str | None = None
    """The slug of the last error."""
    reason: str | None = None
    """What it said."""
    since: AwareDatetime | None = None
    """When the first of them happened."""
    last: AwareDatetime | None = None
    next_try: AwareDatetime | None = None
    """Until this time, scheduled runs leave the source alone."""
    stopped: bool = False
    """Until a person resumes it, or its vendor's discovery works again."""
    discovery: AwareDatetime | None = None
    """When a stopped source's vendor was last asked for its districts."""
    good_at: AwareDatetime | None = None
    """When it last gave good data; a drop folder without a new file gives none (F7)."""
    unusable: int = 0
    """Rows of its last reading that could not be used."""
    withheld: int = 0
    """People who are missing and stay, because such a row may be about any of them (F5)."""

    @property
    def state(self) -> State:
        """Return the state of the source."""
        if self.stopped:
            return "stopped"
        if self.next_try is not None:
            return "slowed"
        return "failing" if self.failures else "ok"

    def stored(self) -> dict[str, Any]:
        """Return what the column keeps."""
        return self.model_dump(mode="json", exclude_none=True, exclude_defaults=True)


def read_health(stored: Mapping[str, Any] | None) -> Health:
    """Read the column."""
    return Health.model_validate(stored or {})


def after_success(health: Health, now: datetime, *, good: bool = True) -> Health:
    """Return the health after a complete reading; ``good``: it brought data."""
    return without_failures(health).model_copy(update={"good_at": now} if good else {})


def without_failures(health: Health) -> Health:
    """Return the health of a source whose failures are forgotten."""
    return Health(good_at=health.good_at, unusable=health.unusable, withheld=health.withheld)


def after_failure(health: Health, code: str, now: datetime, reason: str | None = None) -> Health:
    """Return the health after a reading that failed or was incomplete, for this ``reason``."""
    failures = health.failures + 1
    late = failures - PATIENT - 1
    stopped = health.stopped or code in STOPPING or late >= len(WAITS)
    wait = None if stopped or late < 0 else now + WAITS[late]
    return health.model_copy(
        update={
            "failures": failures,
            "code": code,
            "reason": reason,
            "since": health.since or now,
            "last": now,
            "next_try": wait,
            "stopped": stopped,
        }
    )


def is_due(health: Health, now: datetime) -> bool:
    """Say whether a scheduled run reads the source now."""
    return not health.stopped and (health.next_try is None or now >= health.next_try)


def discovery_is_due(health: Health, now: datetime) -> bool:
    """Say whether a stopped source's vendor should be asked for its districts now."""
    asked = health.discovery or health.last
    return health.stopped and (asked is None or now - asked >= DISCOVERY_EVERY)


def is_stale(health: Health, complete_at: datetime | None, hours: int, now: datetime) -> bool:
    """Return whether no good data came for longer than the district wants.

    A source that never gave any is not overdue, because it has not begun. The caller leaves out
    sources that are never scheduled, and districts in a pause.
    """
    good = health.good_at or complete_at
    return good is not None and now - good > timedelta(hours=hours)
