"""One page of people out of a day, with the faults of paging: what every vendor's list shares."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from rostersync.emulator.district import people
from rostersync.emulator.district.view import SECOND, DayView
from rostersync.emulator.server.faults import FaultBox


@dataclass(frozen=True, slots=True)
class Listing:
    """``slots`` of one page, where it starts, the total, and whether to say that more follows."""

    slots: array[int]
    start: int
    total: int
    page: int
    more: bool
    faulty: bool


def served_slots(
    view: DayView, faults: FaultBox, role: str | None, *, leaving: bool, split: bool = False
) -> tuple[array[int], bool]:
    """Return all slots (``split``: entries) of a list, and whether a fault changed them."""
    if faults.strike("empty_users", "users"):
        return array("I"), True
    slots = (view.entries if split else view.slots)(role, leaving=leaving)
    if (fault := faults.get("empty_role")) and fault.role:
        only = people.ROLE_MASKS[fault.role]

        def kept(entry: int) -> bool:
            roles = view.roles(view.district.person_of(entry & ~SECOND))
            if not split:
                return roles != only
            return people.role_tuple(roles)[entry >> 31] != fault.role

        return array("I", filter(kept, slots)), True
    return slots, False


def page_of(
    slots: array[int], faults: FaultBox, stream: str, start: int, limit: int, *, faulty: bool
) -> Listing:
    """Return the page of ``limit`` slots from position ``start`` on."""
    page = start // limit + 1
    total = len(slots)
    more = start + limit < total
    if (fault := faults.strike("endless_paging", stream, page, onward=True)) is not None:
        at = ((fault.page or 1) - 1) * limit
        return Listing(slots[at : at + limit], start, total, page, more=True, faulty=True)
    if faults.strike("early_last_page", stream, page, onward=True) is not None:
        fault = faults.get("early_last_page")
        cut = fault is not None and fault.page is not None and page > fault.page
        found = array("I") if cut else slots[start : start + limit]
        return Listing(found, start, total, page, more=False, faulty=True)
    if (fault := faults.strike("shifting_pages", stream, page, onward=True)) is not None:
        at = max(0, start + int(fault.amount))
        return Listing(slots[at : at + limit], start, total, page, at + limit < total, faulty=True)
    return Listing(slots[start : start + limit], start, total, page, more, faulty)
