"""Two made-up connectors whose roster is one JSON document that a test edits: see ``kit.Roster``.

``board`` behaves like a vendor, ``board_file`` like a set of files. The document says how the
reading goes: whether it ends early, which totals are declared, which rows cannot be read. Both
enter by the entry point group that plugins use, from ``plugin/`` beside this file, so that a child
process finds them as well.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from connectors.contract.connector import (
    Capabilities,
    Certificate,
    Connector,
    ConnectorConfig,
    FetchRequest,
    Page,
    Record,
)
from core.errors import CredentialsRefused, FileRefused, IncompleteFetch, SkipRecord
from core.models import Kind, Membership, NormalizedSchool, NormalizedUser, Role


class BoardConfig(ConnectorConfig):
    """Where the document is, and which abilities the connector admits to."""

    path: str = Field(description="The JSON document.")
    asks_by_id: bool = Field(default=False, description="Single ids can be asked for.")
    scoped: bool = Field(default=False, description="A fetch speaks for the roles it has.")
    scope_roles: tuple[Role, ...] = Field(default=(), description="The roles it speaks for.")
    one_address_each: bool = Field(default=False, description="An address stands in one row only.")
    page_size: int = Field(default=3, description="Rows on a page.")


class Board(Connector):
    """A vendor whose roster is a document."""

    name = "board"
    version = "1"
    title = "A notice board"
    config_model = BoardConfig
    capabilities = Capabilities()
    streams: ClassVar[Mapping[str, Kind]] = {"schools": Kind.SCHOOL, "people": Kind.USER}
    config: BoardConfig

    def __init__(self, config: ConnectorConfig) -> None:
        super().__init__(config)
        self.capabilities = Capabilities(
            origin=type(self).capabilities.origin,
            partial_is_usable=type(self).capabilities.partial_is_usable,
            reads_by_id=self.config.asks_by_id,
            scoped_by_role=self.config.scoped,
            unique_email=self.config.one_address_each,
            binds_email_domains=type(self).capabilities.binds_email_domains,
            skips_unchanged=True,
        )

    def document(self) -> dict[str, Any]:
        """Return the document as it is now."""
        return dict(json.loads(Path(self.config.path).read_text()))

    def pages(self, request: FetchRequest) -> Generator[Page, None, Certificate]:
        """Serve the document page by page, as far as it says."""
        document = self.document()
        match document.get("fails"):
            case "refused":
                raise CredentialsRefused("The board refused the credentials.")
            case "file":
                raise FileRefused("The board cannot be read.")
        revision = document.get("revision")
        if revision is not None and revision == request.revision:
            return Certificate(complete=True, unchanged=True, revision=revision)
        ends_after = document.get("ends_after")
        served = 0
        for stream in ("schools", "people"):
            rows = document[stream]
            for first in range(0, len(rows), self.config.page_size):
                some = rows[first : first + self.config.page_size]
                if stream == "people":
                    if ends_after is not None and served + len(some) > ends_after:
                        some = some[: ends_after - served]
                    served += len(some)
                if some:
                    body = "\n".join(json.dumps(row) for row in some).encode()
                    yield Page(stream, body, bytes.splitlines, file=f"{stream}.txt")
                if stream == "people" and ends_after is not None and served >= ends_after:
                    raise IncompleteFetch("The board was taken away half way.")
        if document.get("fails") == "at_end":
            raise IncompleteFetch("The board was taken away at the end.")
        return Certificate(
            complete=document.get("complete", True),
            reason=None if document.get("complete", True) else "The board says so.",
            pages=1,
            declared=document.get("declared") or {},
            vendor_district=document.get("district"),
            vendor_state=document.get("state"),
            revision=revision,
            absent_streams=frozenset(document.get("silent") or ()),
        )

    def identify(self, stream: str, raw: bytes) -> str:
        """Return the row's key."""
        row = json.loads(raw)
        if row.get("keyless"):
            raise SkipRecord("The row has no key.", rule="key", column="key", hint="Give it one.")
        return str(row["key"])

    def parse(self, stream: str, raw: bytes) -> Record:
        """Return what a row says."""
        row = json.loads(raw)
        key = str(row["key"])
        if row.get("broken"):
            raise SkipRecord("The row is torn.", rule="torn", column="role", key=key, hint="Mend.")
        if row.get("deleted"):
            return Record(Kind(("user", "school")[stream == "schools"]), key, deleted=True)
        if stream == "schools":
            fields = {name: row.get(name) for name in ("name", "nces_id", "state_id", "number")}
            school = NormalizedSchool(external_id=key, **fields)
            return Record(Kind.SCHOOL, key, school=school)
        memberships = tuple(
            Membership(role=Role(role), school=school, primary=number == 0 and school is not None)
            for number, (role, school) in enumerate(row["memberships"])
        )
        user = NormalizedUser(external_id=key, memberships=memberships, **row["fields"])
        return Record(Kind.USER, key, user=user, former_keys=tuple(row.get("former", ())))

    def exists(self, keys: Iterable[str]) -> Mapping[str, bool]:
        """Answer for single ids: the document lists who is still there."""
        there = set(self.document().get("still_there") or ())
        return {key: key in there for key in keys}


class BoardFile(Board):
    """A set of files that are a document: an incomplete one changes nobody (F1)."""

    name = "board_file"
    title = "A notice board on paper"
    capabilities = Capabilities(origin="file", partial_is_usable=False, binds_email_domains=True)


__all__: Sequence[str] = ("Board", "BoardFile")
