"""The words of SQL that SQLite and PostgreSQL spell differently, each spelled once.

``Database`` inherits them, so that a statement asks the database that it is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


class SqlWords:
    """Parts of SQL in the dialect of one database."""

    is_sqlite: bool

    @property
    def numbering(self) -> str:
        """SQL: the type of a column that numbers rows from 1, in the order of their ``INSERT``."""
        numbers = "" if self.is_sqlite else " GENERATED ALWAYS AS IDENTITY"
        return f"INTEGER{numbers} PRIMARY KEY"

    def json_text(self, column: str, name: str) -> str:
        """SQL: the member ``name`` of the JSON ``column`` as text; NULL if missing or null."""
        if self.is_sqlite:
            return f"json_extract({column}, '$.{name}')"
        return f"({column} ->> '{name}')"

    def json_has(self, column: str, name: str) -> str:
        """SQL: whether the JSON ``column`` has the member ``name``, even if it is null."""
        if self.is_sqlite:
            return f"(json_type({column}, '$.{name}') IS NOT NULL)"
        return f"jsonb_exists({column}, '{name}')"

    def json_member(self, column: str, name: str) -> str:
        """SQL: the member ``name`` of the JSON ``column`` as JSON."""
        if self.is_sqlite:
            return f"json_extract({column}, '$.{name}')"
        return f"({column} -> '{name}')"

    def json_true(self, column: str, name: str) -> str:
        """SQL: whether the member ``name`` of the JSON ``column`` is true."""
        if self.is_sqlite:
            return f"(json_extract({column}, '$.{name}') = 1)"
        return f"(({column} ->> '{name}')::boolean)"

    def json_length(self, column: str, name: str) -> str:
        """SQL: how many elements the list ``name`` of the JSON ``column`` has."""
        if self.is_sqlite:
            return f"json_array_length({column}, '$.{name}')"
        return f"jsonb_array_length({column} -> '{name}')"

    def json_each(self, column: str, name: str, alias: str) -> str:
        """SQL, after a FROM item and a comma: one row for each element of a JSON list.

        Without a name the column itself is the list.
        """
        if self.is_sqlite:
            return (
                f"json_each({column}, '$.{name}') AS {alias}"
                if name
                else (f"json_each({column}) AS {alias}")
            )
        inner = f"{column} -> '{name}'" if name else column
        return f"jsonb_array_elements({inner}) AS {alias}(value)"

    def json_keys(self, column: str, alias: str) -> str:
        """SQL, after a FROM item and a comma: one row for each ``key`` of a JSON object."""
        if self.is_sqlite:
            return f"json_each({column}) AS {alias}"
        return f"jsonb_object_keys({column}) AS {alias}(key)"

    def json_rows(self, name: str, alias: str) -> str:
        """SQL: one row for each element of a JSON list that is bound as ``name``, as text."""
        if self.is_sqlite:
            return f"json_each(:{name}) AS {alias}"
        return f"jsonb_array_elements(CAST(:{name} AS JSONB)) AS {alias}(value)"

    def json_item(self, alias: str, index: int) -> str:
        """SQL: the ``index``-th item, as text, of an element that is itself a list."""
        if self.is_sqlite:
            return f"json_extract({alias}.value, '$[{index}]')"
        return f"({alias}.value ->> {index})"

    def among(self, column: str, name: str) -> str:
        """SQL: whether ``column`` is one of the texts bound as ``name`` by ``bound_list``."""
        if self.is_sqlite:
            return f"{column} IN (SELECT value FROM json_each(:{name}))"
        return f"{column} = ANY(:{name})"

    def one_of(self, column: str, query: str) -> str:
        """SQL: whether ``column`` is among the numbers that ``query`` selects.

        The query runs once and rows are looked up by its result, whatever number of rows PostgreSQL
        expects.
        """
        return f"{column} IN ({query})" if self.is_sqlite else f"{column} = ANY(ARRAY({query}))"

    def bound_list(self, values: Sequence[str]) -> Any:
        """Return texts as ``among`` takes them: one parameter for all of them."""
        return msgspec.json.encode(values).decode() if self.is_sqlite else list(values)

    def to_int(self, expression: str) -> str:
        """SQL: ``expression`` as a whole number."""
        return f"CAST({expression} AS INTEGER)"
