"""The upload: a person gives a file, sees what is wrong in which line, and the file is read.

``upload_file`` is the library call behind ``rostersync upload``; ``read_waiting`` is what the
scheduler calls when a pause has ended. A file is treated like every source: inspected, read,
planned, and applied except for what is held.

One file, because a file takes one way: received, inspected, read, reported.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, bindparam, select

from connectors.contract.connector import FetchRequest
from connectors.files.file_set import file_time
from connectors.files.inspection import Found, Inspection, inspect
from connectors.files.recognition import recognise, refuse_named_others
from connectors.installed import file_formats, load
from core.errors import Busy, FileRefused, RosterSyncError, UsageError, VendorFailure
from core.models import checked_actor
from core.private_folder import PrivateFolder
from core.settings import NUMBER_FIELDS, DistrictSettings
from core.steps import log_of, step
from core.storage.database import Database
from core.storage.schema import Record, Source, Upload
from sync.acts.flex import WITHOUT_REPORT, one_upload, refuse_upload
from sync.engine import plan_district, sync_district
from sync.reading.read_sources import terms_of
from sync.run.clock import Clock, utc_now
from sync.run.display import UPLOAD, shown_id
from sync.run.district_run import Progress, read_district
from sync.run.outcome import Outcome
from sync.sources import received_files
from sync.sources.connect import open_connector
from sync.sources.received_files import (
    FAILED,
    MOST_KEPT,
    PENDING,
    PROCESSED,
    PROCESSING,
    QUEUED,
    NewUpload,
)
from sync.sources.settlement import findings_of

log = log_of(__name__)


@dataclass(slots=True)
class Uploaded:
    """The result of one upload: its row, what was found in it, and what it changed."""

    upload_id: int
    status: str
    outcome: Outcome
    found: Sequence[Found] = ()
    uncounted: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    source: str | None = None
    said: Sequence[str] = ()
    """What else the uploader must know, in sentences."""


def upload_file(
    database: Database,
    slug: str,
    path: Path,
    *,
    source: str | None = None,
    dry: bool = False,
    during_pause: bool = False,
    without_report: bool = False,
    actor: str,
    now: Clock | None = None,
    progress: Progress | None = None,
) -> Uploaded:
    """Accept a file (CSV, workbook, zip or folder), say what is wrong in it, and read it.

    The type is found from its headers; ``source`` is needed only if two sources accept it. ``dry``:
    make the plan and change nobody. A file that cannot be used changes nothing and returns with its
    error in the outcome. ``without_report``: accept a firm's one upload although nobody's FinPro
    account can be checked (I8). Raises ``UsageError`` for an unknown district or source, and if no
    source accepts such a file.
    """
    checked_actor(actor)
    district, settings, sources = read_district(database, slug)
    if source is not None and source not in {one.name for one in sources}:
        raise UsageError(
            f"{slug} has no source {source}.", hint=f"rostersync sources {slug} lists them."
        )
    at = (now or utc_now)()
    with PrivateFolder() as folder:
        copy = _taken_in(path, folder)
        new = NewUpload(
            path.name, actor, file_time(path.stat().st_mtime), _hash(copy),
            copy.stat().st_size, dry,
        )  # fmt: skip
        try:
            chosen: Source | None = choose_source(sources, copy, settings, source)
            refusal: FileRefused | None = None
        except FileRefused as error:
            chosen, refusal = None, error
        once = chosen is not None and load(chosen.connector).capabilities.one_upload
        if chosen is not None and once:
            refuse_upload(database, chosen, dry=dry, without_report=without_report)
        received_files.recover(database, slug, district.id)
        original = copy.read_bytes() if new.size <= MOST_KEPT else None
        if chosen is not None:
            new = replace(new, source_id=chosen.id, type=chosen.connector)
        upload_id = received_files.open_upload(database, district.id, new, original, at)
        if chosen is None:
            assert refusal is not None  # noqa: S101 - one of the two
            received_files.mark(database, upload_id, status=FAILED, note=refusal.message)
            outcome = Outcome(slug, refusal.status, error=refusal)
            return Uploaded(upload_id, FAILED, outcome)
        reading = _UploadReading(
            database, slug, settings, chosen, upload_id, actor, now, progress,
            {WITHOUT_REPORT: 1} if without_report else {},
        )  # fmt: skip
        done = reading.read(copy, dry=dry, during_pause=during_pause)
        if once and done.status != FAILED:
            done.said = (*one_upload(path.name, dry=dry), *done.said)
        return done


def read_waiting(
    database: Database, slug: str, *, actor: str = "schedule", now: Clock | None = None
) -> list[Uploaded]:
    """Read the uploads that waited, once the pause is over: the newest of each scope (S1).

    In a pause they keep waiting. Raises ``UsageError`` for an unknown district.
    """
    district, settings, sources = read_district(database, slug)
    received_files.recover(database, slug, district.id)
    with database.read() as connection:
        rows = received_files.waiting(connection, district.id)
    done: list[Uploaded] = []
    for row in rows:
        chosen = next((one for one in sources if one.id == row.source_id), None)
        if chosen is None:
            received_files.mark(database, row.id, status=FAILED, note="Its source is gone.")
        elif (later := received_files.overtaken_by(database, row)) is not None:
            received_files.give_way(database, row, later)
        else:
            read = _read_one(database, slug, settings, chosen, row, actor, now)
            done.append(read)
            if read.status == QUEUED:
                break  # another run is under way: the rest waits, too
    return done


def _read_one(
    database: Database,
    slug: str,
    settings: DistrictSettings,
    chosen: Source,
    row: Any,
    actor: str,
    now: Clock | None,
) -> Uploaded:
    """Read one upload that waited. That it cannot be read is its own failure, told in the list."""
    reading = _UploadReading(database, slug, settings, chosen, row.id, actor, now, None, WAITED)
    try:
        with PrivateFolder() as folder:
            original = received_files.unlock(database, row.original or b"")
            copy = folder.place(Path(row.title).name, len(original))
            copy.write_bytes(original)
            return reading.read(copy, dry=row.dry, during_pause=False)
    except Busy:
        raise
    except RosterSyncError as error:
        received_files.mark(database, row.id, status=FAILED, note=error.message, counts=WAITED)
        outcome = Outcome(slug, error.status, error=error)
        return Uploaded(row.id, FAILED, outcome, source=chosen.name)


WAITED = {"waited": 1}
"""Among the counts of an upload: nobody was present when it was read."""


# -- which file it is


def choose_source(
    sources: Sequence[Source], path: Path, settings: DistrictSettings, name: str | None
) -> Source:
    """Return the source that accepts a file. Raises ``FileRefused`` and ``UsageError``."""
    takers = [one for one in sources if load(one.connector).capabilities.takes_uploads]
    if name is not None:
        takers = [one for one in takers if one.name == name]
        if not takers:
            raise UsageError(
                f"The source {name} reads no files.", hint="Leave --source out, or name another."
            )
        return takers[0]
    kinds = recognise(path, file_formats())
    fitting = [one for one in takers if one.connector in kinds]
    if len(fitting) == 1:
        return fitting[0]
    if len(fitting) > 1:
        raise UsageError(
            "Several sources take such a file: " + ", ".join(one.name for one in fitting) + ".",
            hint="Say which one with --source.",
        )
    if kinds:
        raise UsageError(
            f"The file is a {kinds[0]} file, and {settings.slug} has no source that takes one.",
            hint=f'Add a [[district.source]] with connector = "{kinds[0]}" to the district file.',
        )
    if len(takers) == 1:
        return takers[0]  # reading it will say what is wrong
    refuse_named_others(path)
    raise FileRefused(
        f"{path.name} has the headers of no file that is known here.",
        hint="rostersync template FORMAT writes a file with the right headers; or say --source.",
    )


def _taken_in(path: Path, folder: PrivateFolder) -> Path:
    """Copy the file, so that it cannot change while it is read; a folder becomes a zip."""
    if path.is_dir():
        files = [
            file for file in sorted(path.iterdir())
            if file.is_file() and not file.is_symlink() and file.suffix.lower() == ".csv"
        ]  # fmt: skip
        size = sum(file.stat().st_size for file in files)
        copy = folder.place(f"{path.resolve().name}.zip", size)
        with zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, file.name)
        return copy
    if not path.is_file():
        raise UsageError(f"There is no file {path.name}.", hint="Check the path.")
    try:
        copy = folder.place(path.name, path.stat().st_size)
        return Path(shutil.copyfile(path, copy))
    except OSError as problem:
        raise FileRefused(
            f"{path.name} cannot be read: {problem.strerror or type(problem).__name__}.",
            hint="Check that this user may read it.",
        ) from None


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# -- reading it


@dataclass(frozen=True, slots=True)
class _UploadReading:
    database: Database
    slug: str
    settings: DistrictSettings
    source: Source
    upload_id: int
    actor: str
    now: Clock | None
    progress: Progress | None
    about: Mapping[str, int] = field(default_factory=dict)
    """What else stands among its counts."""

    def read(self, path: Path, *, dry: bool, during_pause: bool) -> Uploaded:
        self._mark(source_id=self.source.id, type=self.source.connector)
        try:
            number = shown_id(UPLOAD, self.upload_id)
            with step(log, "inspect upload", upload=number, source=self.source.name) as done:
                inspected = self._inspect(path)
                done.tell(
                    records=inspected.rows, usable=inspected.usable,
                    errors=inspected.count("error"), warnings=inspected.count("warning"),
                )  # fmt: skip
            counts = {
                "rows": inspected.rows, "usable": inspected.usable,
                "errors": inspected.count("error"),
                "warnings": inspected.count("warning"), **self.about,
            }  # fmt: skip
            scope = ",".join(sorted(inspected.roles))
            self._mark(status=PROCESSING, counts=counts, scope=scope[:255])
            outcome = self._refused(inspected, counts)
            if outcome is None:
                outcome = self._run(path, dry=dry, during_pause=during_pause)
        except Busy as busy:
            self._mark(status=QUEUED)
            outcome = Outcome(self.slug, busy.status, error=busy)
            return Uploaded(self.upload_id, QUEUED, outcome, source=self.source.name)
        except BaseException as error:
            known = error.message if isinstance(error, RosterSyncError) else "It failed by itself."
            self._mark(status=FAILED, note=known)
            raise
        status = PROCESSED if inspected.nobody_usable else self._status(outcome)
        note = "" if outcome.error is None else outcome.error.message
        run = {} if outcome.run_id is None else {"run_id": outcome.run_id}
        plan = {"plan_id": outcome.plan_ids[0]} if outcome.plan_ids else {}
        self._add_joined(inspected, outcome)
        counts["errors"] = inspected.count("error")
        self._mark(status=status, note=note, counts=counts, **run, **plan)
        if status == PROCESSED and not dry:
            received_files.overtake(self.database, self.upload_id)
        return Uploaded(
            self.upload_id, status, outcome, inspected.found, inspected.uncounted, counts,
            self.source.name, inspected.notes,
        )  # fmt: skip

    def _add_joined(self, inspected: Inspection, outcome: Outcome) -> None:
        """Add findings that appeared only when the rows of one entry were joined."""
        if outcome.run_id is None:
            return
        told = {(one.file, one.line) for one in inspected.found if one.severity == "error"}
        with self.database.read() as connection:
            for one in findings_of(connection, outcome.run_id, self.source.id):
                if (one.file, one.line) not in told:
                    found = Found(
                        "error", one.file, one.line, one.column, one.rule, "", one.message, one.hint
                    )
                    inspected.add(found)

    def _inspect(self, path: Path) -> Inspection:
        connector = open_connector(self.source)
        try:
            terms = terms_of(self.database, self.settings, self.source, connector)
            request = FetchRequest(directory=self.settings.directory, file=str(path))
            with self.database.read() as connection:
                padded = padded_numbers(connection, self.source)
            return inspect(connector, request, terms.email_domains, padded)
        finally:
            connector.close()

    def _refused(self, inspected: Inspection, counts: dict[str, int]) -> Outcome | None:
        """Return the refusal of a file without a usable row, or that may not have a bad row.

        A file in which every row is bad was received and read (file-rules.md 4.4), but is refused.
        """
        error = inspected.error
        if error is None and inspected.nobody_usable:
            error = FileRefused(
                f"Not one of the {inspected.people} rows can be used, so nobody was changed.",
                hint="Correct the lines in the report, and upload the file again.",
            )
        strict = self.source.config.get("bad_rows") == "refuse"
        if error is None and strict and counts["errors"]:
            error = FileRefused(
                f"{inspected.bad_rows} of {inspected.rows} rows cannot be used, and the source"
                f" {self.source.name} takes whole files only (bad_rows).",
                hint="Correct the lines in the report, and upload the file again.",
            )
        if error is None:
            return None
        return Outcome(self.slug, error.status, error=error, codes=(15,))

    def _run(self, path: Path, *, dry: bool, during_pause: bool) -> Outcome:
        about: dict[str, Any] = {
            "sources": [self.source.name], "full": True, "actor": self.actor, "now": self.now,
            "progress": self.progress, "upload": str(path),
        }  # fmt: skip
        if dry:
            outcome = plan_district(self.database, self.slug, **about)
        else:
            outcome = sync_district(self.database, self.slug, during_pause=during_pause, **about)
        if isinstance(outcome.error, VendorFailure):
            outcome.codes = (*outcome.codes, 15)  # for an upload, incomplete means refused
        elif outcome.status == "partial" and outcome.error is None:
            # leavers were withheld because of a line without a key: the report names it (F5)
            done = "planned" if dry else "applied"
            outcome.status = done if outcome.plan_ids else "nothing_to_do"
            outcome.codes = tuple(code for code in outcome.codes if code != 12)
        return outcome

    def _status(self, outcome: Outcome) -> str:
        if outcome.status == "paused":
            with self.database.read() as connection:
                if connection.execute(_IS_KEPT, {"upload": self.upload_id}).scalar():
                    return PENDING
            outcome.status = "refused"
            outcome.error = UsageError(
                "The district is paused, and a file of this size is not kept until the pause ends.",
                hint="Upload it again after the pause, or with --during-pause.",
            )
            return FAILED
        return FAILED if outcome.error is not None else PROCESSED

    def _mark(self, **values: Any) -> None:
        received_files.mark(self.database, self.upload_id, **values)


_IS_KEPT = select(Upload.original.is_not(None)).where(Upload.id == bindparam("upload"))


# -- numbers that a spreadsheet may have shortened


def padded_numbers(connection: Connection, source: Source) -> frozenset[str]:
    """Return the numbers with leading zeros that a source has, without them (I11).

    Of more than ``_MOST_PADDED`` the others are not looked for.
    """
    found: set[str] = set()
    for data in connection.execute(_PADDED, {"source": source.id}).scalars():
        for name, value in json.loads(data).items():
            if name in NUMBER_FIELDS and value[:1] == "0" and value.isdecimal():
                found.add(value.lstrip("0"))
        if len(found) >= _MOST_PADDED:
            break
    return frozenset(found - {""})


_MOST_PADDED = 200_000
_PADDED = select(Record.data).where(
    Record.source_id == bindparam("source"),
    Record.kind == "user",
    Record.present,
    Record.data.like('%":"0%'),
)
