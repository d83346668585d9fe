"""The script of a district: what happens on each day, as a list of edits on the day before.

A test or a demo writes ``Day(Leaves(30), Joins(12), Changes(5, fields=("email",)))``. A number
below 1 is a share of the people present (``Leaves(0.15)``), or as many as fit if fewer do. Within
one day an edit never picks somebody whom an earlier edit of that day picked, so that the numbers
add up exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

CHANGE_FIELDS: tuple[str, ...] = ("email", "name", "username", "school", "grade", "role")
"""What ``Changes`` can change. ``role`` gives a teacher the staff role or takes it again."""

HOSTILE: tuple[str, ...] = (
    "same_names", "shared_email", "twins", "missing_ids", "swapped_ids",
)  # fmt: skip
"""The ways in which people are hard to tell apart; see ``Hostile``."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit. ``n`` people are picked by a fixed shuffle of the seed, day and edit."""

    n: float = 0
    role: str | None = None
    """Pick only people with this role (our names: student, teacher, staff, admin, contact)."""
    school: int | None = None
    """Pick only people whose primary school has this index."""


@dataclass(frozen=True, slots=True)
class Joins(Edit):
    """``n`` new people with new vendor ids; ``role`` and ``grade`` (a number, KG is 0) if given."""

    grade: int | None = None


@dataclass(frozen=True, slots=True)
class Leaves(Edit):
    """``n`` people are no longer served."""


@dataclass(frozen=True, slots=True)
class Returns(Edit):
    """``n`` people who left are served again, under their old vendor id unless ``new_id``."""

    new_id: bool = False


@dataclass(frozen=True, slots=True)
class Changes(Edit):
    """``n`` people change one of ``fields`` each; one that cannot change is given a new name."""

    fields: tuple[str, ...] = ("email", "name", "school", "grade")


@dataclass(frozen=True, slots=True)
class NewIds(Edit):
    """``n`` people get a new vendor id; the old one is gone. Their SIS id stays."""


@dataclass(frozen=True, slots=True)
class Disables(Edit):
    """``n`` people are served with ``enabledUser`` false (Clever cannot say so)."""


@dataclass(frozen=True, slots=True)
class Enables(Edit):
    """``n`` disabled people are enabled again."""


@dataclass(frozen=True, slots=True)
class ToBeDeleted(Edit):
    """``n`` people are served with status ``tobedeleted`` (Clever: no longer served)."""


@dataclass(frozen=True, slots=True)
class Touches(Edit):
    """Everybody's (or ``n`` people's) date of change moves, and nothing else."""


@dataclass(frozen=True, slots=True)
class Hostile(Edit):
    """``n`` people become hard to tell from somebody else, for good; ``kind`` says how.

    They come in pairs of the same roles and grade (people without a partner are left alone).
    ``same_names``: the second has the names of the first. ``shared_email``: also the address of the
    first. ``twins``: the family name and school of the first. ``swapped_ids``: each has the numbers
    of the other. ``missing_ids``: each of them loses all numbers. ``DayView.hostile`` tells who was
    chosen.
    """

    kind: str = "same_names"


@dataclass(frozen=True, slots=True)
class DomainChange:
    """The district's email domain becomes ``to``, for a ``share`` of the people (1: all)."""

    to: str = "b.example"
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Rollover:
    """A new school year: grade 12 leaves, the others go one grade up, kindergarten fills.

    ``newcomers`` is how many children join KG; None: as many as left.
    """

    newcomers: int | None = None


@dataclass(frozen=True, slots=True)
class RenamesSchools:
    """The first ``n`` schools get a new name."""

    n: int = 1


AnyEdit = Edit | DomainChange | Rollover | RenamesSchools


class Day(tuple[AnyEdit, ...]):
    """What happens on one day, in order. ``Day()`` is a day on which nothing happens."""

    __slots__ = ()

    def __new__(cls, *edits: AnyEdit) -> Day:
        """Make a day of edits, in order."""
        return super().__new__(cls, edits)


def ordinary_week() -> tuple[Day, ...]:
    """Return the script that the command line serves: one of everything, day by day."""
    return (
        Day(Joins(0.004), Leaves(0.002), Changes(0.01)),
        Day(),
        Day(Returns(0.001), ToBeDeleted(0.001), Disables(0.001)),
        Day(NewIds(0.002), Changes(0.002, fields=("role", "username")), RenamesSchools()),
        Day(DomainChange("b.example", share=0.5)),
        Day(DomainChange("b.example")),
        Day(Touches()),
        Day(Leaves(0.2)),
        Day(Returns(0.1), Enables(0.0005)),
        Day(Rollover()),
    )
