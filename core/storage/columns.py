"""How a table is declared: one class, which is its columns in SQL and a plain object of each row.

``core/storage/schema.py`` declares every table this way, and everything else is derived from it. On
the class an attribute is the column, for SQLAlchemy Core expressions; on a row it is the value::

    query = select(District.table).where(District.slug == "springfield")
    district = District.one_of(connection.execute(query))
    district.settings  # a dict, and mypy knows it

SQLAlchemy's mapped classes and SQLModel's would say the same, but they take longer to load than
most commands take to run; ``core/storage/tables.py`` makes SQLModel classes of these for programs
that want them. A table is built when it is first asked for, so a command pays only for those it
uses.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Constraint,
    Dialect,
    Index,
    Integer,
    MetaData,
    Result,
    Table,
    TypeDecorator,
    text,
)
from sqlalchemy.sql.selectable import TextualSelect
from sqlalchemy.types import TypeEngine

from core.storage.stored import UtcTime

T = TypeVar("T")
Types = Mapping[str, TypeEngine[Any]]
"""Column → its type, for those that are not read as they are stored."""

_METADATA = MetaData()
_BUILDING = threading.RLock()


class Json(TypeDecorator[Any]):
    """A JSON value: ``JSONB`` on PostgreSQL, text on SQLite; None is null."""

    impl = JSON
    cache_ok = True
    should_evaluate_none = True
    """None that somebody gives is null, and not the default."""

    def __init__(self) -> None:
        super().__init__(none_as_null=True)

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return what the database calls it; PostgreSQL's types are loaded only for PostgreSQL."""
        if dialect.name != "postgresql":
            return dialect.type_descriptor(JSON(none_as_null=True))
        from sqlalchemy.dialects.postgresql import JSONB

        return dialect.type_descriptor(JSONB(none_as_null=True))


BigId: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
"""An id that counts up: SQLite does so only for its own ``INTEGER``, which is as long."""


class Stored(Generic[T]):
    """One column of a table: the column in SQL on the class, its value on a row."""

    def __init__(self, kind: TypeEngine[Any], more: Sequence[Any], options: Mapping[str, Any]):
        self.kind = kind
        self.name = ""
        self._more = more
        self._options = options
        self._column: Column[Any] | None = None

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, row: None, owner: type[Row]) -> Column[T]: ...
    @overload
    def __get__(self, row: Row, owner: type[Row]) -> T: ...
    def __get__(self, row: Row | None, owner: type[Row]) -> Any:
        """Return the column. A row has its values itself, so it comes here only for others."""
        if row is not None:
            raise AttributeError(f"{self.name} of {owner.__name__} was not read from the table")
        if self._column is None:
            owner.table  # noqa: B018 - building the table builds its columns
        return self._column

    def build(self) -> Column[Any]:
        """Return the column, made anew for its table."""
        self._column = Column(self.name, self.kind, *self._more, **self._options)
        return self._column


def row_id() -> Stored[int]:
    """Declare the id that the database gives each new row."""
    return Stored(BigId, (), {"primary_key": True, "autoincrement": True})


def required(kind: TypeEngine[T], *more: Any, **options: Any) -> Stored[T]:
    """Declare a column that always has a value; ``more`` and ``options`` are those of ``Column``.

    A ``default`` is what ``insert`` writes where nothing is given, a value or a function.
    """
    return Stored(kind, more, {"nullable": False, "autoincrement": False, **options})


def optional(kind: TypeEngine[T], *more: Any, **options: Any) -> Stored[T | None]:
    """Declare a column that may be null, as ``required`` does."""
    return Stored(kind, more, {"nullable": True, **options})


class _TableOf:
    """Builds the table of a class when it is first asked for."""

    def __get__(self, row: Row | None, owner: type[Row]) -> Table:
        with _BUILDING:
            table = _METADATA.tables.get(owner.table_name)
            if table is None:
                columns = [one.build() for one in vars(owner).values() if isinstance(one, Stored)]
                table = Table(owner.table_name, _METADATA, *columns)
            owner.table = table  # type: ignore[assignment]
            return table


class Row:
    """A row of a table, and the table itself. A row has the columns that were read of it."""

    table_name: ClassVar[str]
    table_extras: ClassVar[Callable[[], Sequence[Constraint | Index]]]
    """Its constraints and indexes, which no statement needs."""
    table = _TableOf()
    """The table in SQLAlchemy's terms."""
    read_as: ClassVar[Types]
    """The columns that are not read as they are stored: times, JSON and truths."""

    def __init_subclass__(
        cls, name: str, extras: Callable[[], Sequence[Constraint | Index]] = tuple
    ) -> None:
        """Declare the table ``name``; ``extras`` returns its constraints and indexes."""
        cls.table_name = name
        cls.table_extras = extras
        cls.read_as = {
            one.name: one.kind
            for one in vars(cls).values()
            if isinstance(one, Stored) and isinstance(one.kind, (UtcTime, Json, Boolean))
        }

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    @classmethod
    def all_of(cls, result: Result[Any]) -> list[Self]:
        """Return every row of a result as an object; a query may select more than the table."""
        return [cls(**row) for row in result.mappings()]

    @classmethod
    def one_of(cls, result: Result[Any]) -> Self | None:
        """Return the one row of a result as an object, or None if there is none."""
        row = result.mappings().one_or_none()
        return None if row is None else cls(**row)


def every_table() -> MetaData:
    """Return all tables that have been declared, with constraints and indexes: for migrations."""
    with _BUILDING:
        for row in Row.__subclasses__():
            table = row.table
            if not table.info.get("whole"):
                for extra in row.table_extras():
                    table.append_constraint(extra)
                table.info["whole"] = True
    return _METADATA


def typed(query: str, *rows: type[Row]) -> TextualSelect:
    """Return a query in plain SQL whose columns are read as those of these tables.

    Of two columns with one name the later table's counts.
    """
    types: dict[str, TypeEngine[Any]] = {}
    for row in rows:
        types |= row.read_as
    return text(query).columns(**types)
