"""The ids that each vendor gives to the same people: made from a slot, and read back to it.

Clever and OneRoster ids ascend with the slot, so that a list sorted by id needs no sorting. The
shapes are those that the vendors show: 24 hex digits (Clever), arbitrary case-sensitive strings
with ``|`` and blanks (OneRoster, ClassLink), the district's guid in front (GG4L).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

_CLEVER_USERS = 0x5F000000
_CLEVER_SCHOOLS = 0x5E000000
_CLEVER_EVENTS = 0x66000000
_TAILS = {7: "|P", 11: " b", 13: "_T-0005", 17: "@x", 19: "+1", 23: "%2F", 29: "/7"}


def _mix(number: int, seed: int, bits: int) -> int:
    mixed = ((number + 1) * 0x9E3779B97F4A7C15 + (seed + 1) * 0xC2B2AE3D27D4EB4F) & (2**64 - 1)
    return (mixed ^ (mixed >> 29)) >> (64 - bits)


def clever_user(slot: int, seed: int) -> str:
    """Return a Clever user id: 24 hex digits that ascend with the slot."""
    return f"{_CLEVER_USERS + slot:08x}{_mix(slot, seed, 40):010x}{slot & 0xFFFFFF:06x}"


def clever_school(index: int, seed: int) -> str:
    """Return a Clever school id."""
    return f"{_CLEVER_SCHOOLS + index:08x}{_mix(index, seed + 5, 40):010x}{index & 0xFFFFFF:06x}"


def clever_district(seed: int) -> str:
    """Return a Clever district id."""
    return f"5d000000{_mix(3, seed, 40):010x}{seed & 0xFFFFFF:06x}"


def clever_event(day: int, seq: int, seed: int) -> str:
    """Return an event id: days ascend, and events within a day."""
    return f"{_CLEVER_EVENTS + day:08x}{seq:010x}{_mix(seq, seed + day, 24):06x}"


def clever_event_place(event_id: str) -> tuple[int, int] | None:
    """Return (day, number) of an event id, None for anything else."""
    try:
        return int(event_id[:8], 16) - _CLEVER_EVENTS, int(event_id[8:18], 16)
    except ValueError:
        return None


def clever_slot(user_id: str) -> int | None:
    """Return the slot that a (perhaps made-up) Clever user id stands at, None for no id at all."""
    try:
        return int(user_id[:8], 16) - _CLEVER_USERS
    except ValueError:
        return None


def classlink_user(slot: int, _seed: int) -> str:
    """Return a ClassLink sourcedId; some hold ``|``, blanks and other traps of URLs."""
    return f"{slot:07d}{_TAILS.get(slot % 50, '')}"


def oneroster_user(slot: int, seed: int) -> str:
    """Return a plain OneRoster sourcedId, most of them like a UUID."""
    mixed = f"{_mix(slot, seed + 9, 60):015x}"
    join = {7: "|", 11: " "}.get(slot % 50, "-")
    return f"{slot:08x}{join}{mixed[:4]}-4{mixed[4:7]}-8{mixed[7:10]}-{mixed[10:]}{slot:07x}"


def gg4l_guid(seed: int) -> str:
    """Return the guid of a district at GG4L."""
    return f"Bd{_mix(1, seed, 40):010x}"


def gg4l_user(slot: int, seed: int) -> str:
    """Return a GG4L sourcedId: the district's guid comes first, the order is not the slot's."""
    return f"{gg4l_guid(seed)}-gf51-{1000 + slot * 7 % 9000}-ST{slot:06d}"


def _decimal(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _hexadecimal(text: str) -> int | None:
    try:
        return int(text, 16)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Ids:
    """The ids of one vendor: of people, schools and the district, and the way back to a slot."""

    user: Callable[[int, int], str]
    school: Callable[[int, int], str]
    district: Callable[[int], str]
    slot: Callable[[str], int | None]


IDS: dict[str, Ids] = {
    "clever": Ids(clever_user, clever_school, clever_district, clever_slot),
    "classlink": Ids(
        classlink_user,
        lambda index, _seed: f"7_{1111 + index}",
        lambda _seed: "7_1",
        lambda text: _decimal(text[:7]),
    ),
    "gg4l": Ids(
        gg4l_user,
        lambda index, seed: f"{gg4l_guid(seed)}-gf51-SC{index:04d}",
        lambda seed: f"{gg4l_guid(seed)}-gf51-DI",
        lambda text: _decimal(text.rpartition("-ST")[2]),
    ),
    "oneroster": Ids(
        oneroster_user,
        lambda index, seed: f"school-{_mix(index, seed, 24):06x}-{index:04d}",
        lambda seed: f"district-{_mix(2, seed, 24):06x}",
        lambda text: _hexadecimal(text[:8]),
    ),
}
