"""Picking up a set of files from a directory that somebody else fills.

Used by ``connectors.files.file_connector`` for a local drop directory (``inbound``) and for one on
a server (``sftp``). A set is chosen, copied to a private folder and read there; only after what it
says was kept is it moved to ``processed/`` or ``failed/``, with the report beside it. A crash in
between picks nothing up twice: the set's content is known by its hash, and a move that was begun is
ended at the next run.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

from connectors.contract.connector import Received
from connectors.files.csv_file import MAX_FILE_BYTES
from connectors.files.file_set import open_files
from core.errors import FileRefused, IncompleteFetch, NothingNew
from core.failpoints import failpoint
from core.steps import log_of, step

log = log_of(__name__)

READABLE = (".csv", ".zip", ".xlsx")
MAX_ENTRIES = 10_000
"""A drop directory with more entries is something else."""
REPORT = "report.csv"
JOURNAL = ".rostersync-moving.json"
_UNFINISHED = (".part", ".filepart", ".tmp", ".temp", ".crdownload", ".partial", ".swp", "~")
_OURS = {"processed", "failed"}
_FINISHED = re.compile(r"(processed|failed)/[0-9TZ]{16}-[0-9a-f]{8}(-\d+)?")
_DIGITS = re.compile(r"[\d_\-.T ]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the directory. ``modified`` is whatever clock the directory has, in seconds."""

    name: str
    size: int
    modified: float


class Inbox(Protocol):
    """A directory that is listed, copied from and tidied up, wherever it is.

    Names are relative to it. Every method raises ``VendorFailure`` when the directory cannot be
    reached or changed; ``listing`` raises ``ConfigError`` when there is none.
    """

    where: str

    def listing(self) -> list[Entry]:
        """Return the plain files; links, folders and hidden names are left out."""

    def copy(self, entry: Entry, to: Path) -> None:
        """Copy at most ``entry.size`` + 1 bytes of a file to ``to``."""

    def read(self, name: str) -> bytes | None:
        """Return a small file, or None where there is none."""

    def write(self, name: str, content: bytes) -> None:
        """Write a small file whole, in place of one of that name."""

    def make(self, folder: str) -> None:
        """Make a folder, and those above it, where it is missing."""

    def move(self, name: str, to: str) -> None:
        """Move a file; nothing happens where it is gone. A file of the new name is replaced."""

    def remove(self, name: str) -> None:
        """Remove a file; nothing happens where it is gone."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How a directory's files make sets.

    ``names`` are the files, folded, that loose files need to be one set; empty: each loose file is
    a set of its own. ``marker`` is the name of the file that says a set is all there; without one
    a set is picked up when nothing of it has changed for ``settle_seconds``.
    """

    names: frozenset[str] = frozenset()
    marker: str | None = None
    settle_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class _Set:
    """Files that belong together. ``series`` is equal for sets that replace one another."""

    series: str
    entries: tuple[Entry, ...]
    loose: bool

    @property
    def newest(self) -> tuple[float, str]:
        return max((entry.modified, entry.name) for entry in self.entries)


@dataclass(slots=True)
class PickedUp:
    """A set that was copied and can be read at ``place``; then ``settle`` it, and ``close``.

    ``digest`` names its content, whatever its files' times.
    """

    inbox: Inbox
    place: Path
    digest: str
    modified: datetime
    chosen: _Set
    overtaken: tuple[_Set, ...]
    broken: tuple[_Set, ...]
    marker: str | None
    notes: list[str] = field(default_factory=list)
    _folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def received(self) -> Received:
        """What was sent, for the list of files."""
        entries = self.chosen.entries
        title = ", ".join(entry.name for entry in entries)
        size = sum(entry.size for entry in entries)
        return Received(title, self.digest, size, self.modified)

    def settle(self, *, accepted: bool, final: bool, report: bytes) -> None:
        """Move the set away after what it says was kept.

        ``accepted``: it was read whole. ``final``: what was wrong with it will not mend itself; a
        loose set that only lacks files stays where it is, for the missing may still come.
        """
        if accepted:
            self._move(self.chosen, "processed", self.digest, report)
            for old in self.overtaken:
                self._move(old, "processed", _digest_of_entries(old), _said("overtaken"))
        elif final or not self.chosen.loose:
            self._move(self.chosen, "failed", self.digest, report)
        for damaged in self.broken:
            self._move(damaged, "failed", _digest_of_entries(damaged), _said("damaged"))

    def _move(self, files: _Set, to: str, digest: str, report: bytes) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        folder = f"{to}/{stamp}-{digest[:8]}"
        inbox = self.inbox
        inbox.make(folder)
        inbox.write(f"{folder}/{REPORT}", report)
        failpoint("pickup.report")
        journal = {
            "folder": folder,
            "files": [[entry.name, entry.size, entry.modified] for entry in files.entries],
        }
        inbox.write(JOURNAL, json.dumps(journal).encode())
        failpoint("pickup.journal")
        if self.marker is not None:
            # first of all: files that come while we tidy up are not vouched for by this marker
            inbox.remove(self.marker)
        _finish_move(inbox)

    def close(self) -> None:
        """Throw the copy away."""
        if self._folder is not None:
            self._folder.cleanup()


def _said(what: str) -> bytes:
    sentence = {
        "overtaken": "A newer set was there and was read instead.",
        "damaged": "It is cut in the middle or lacks files; another set was read instead.",
    }[what]
    return f"file,line,column,rule,severity,message,hint\n,,,{what},note,{sentence},\n".encode()


def _digest_of_entries(files: _Set) -> str:
    about = blake2b(digest_size=16)
    for entry in files.entries:
        about.update(f"{entry.name}\0{entry.size}\0{entry.modified}\0".encode())
    return about.hexdigest()


def _finish_move(inbox: Inbox) -> None:
    """Do what the journal says: move the files that are still the ones that were read."""
    content = inbox.read(JOURNAL)
    if content is None:
        return
    try:
        journal = json.loads(content)
        folder = str(journal["folder"])
        files = [Entry(str(name), int(size), float(when)) for name, size, when in journal["files"]]
    except (ValueError, TypeError, KeyError):
        folder, files = "", []
    if _FINISHED.fullmatch(folder):
        there = {entry.name: entry for entry in inbox.listing()}
        inbox.make(folder)
        for entry in files:
            if there.get(entry.name) == entry:
                inbox.move(entry.name, f"{folder}/{entry.name}")
                failpoint("pickup.moved")
    inbox.remove(JOURNAL)


# ------------------------------------------------------------------------------- picking up


def pick_up(inbox: Inbox, rules: Rules, sleep: Callable[[float], None] = time.sleep) -> PickedUp:
    """Copy the newest set that is all there.

    Raises ``NothingNew`` when there is no set, or none that is all there yet; ``IncompleteFetch``
    when a file changes while it is copied; ``FileRefused`` for a file that is too large.
    """
    _finish_move(inbox)
    listing = inbox.listing()
    marker = _marker(listing, rules)
    sets = _sets(listing, rules)
    if rules.marker is not None and marker is None:
        sets = []
    if sets and marker is None:
        sets = _settled(inbox, sets, rules, sleep)
    if not sets:
        raise NothingNew(f"{inbox.where} holds no new set of files.")
    first = min(sets, key=lambda files: files.newest)  # a series that waits longest comes first
    line = sorted(
        (files for files in sets if files.series == first.series),
        key=lambda files: files.newest,
        reverse=True,
    )
    with step(log, "pick up set", sets=len(sets), series=len(line)) as done:
        picked = _copied(inbox, line, rules, marker)
        done.tell(bytes=picked.received.size)
    return picked


def _marker(listing: Sequence[Entry], rules: Rules) -> str | None:
    if rules.marker is None:
        return None
    wanted = rules.marker.casefold()
    return next((entry.name for entry in listing if entry.name.casefold() == wanted), None)


def _sets(listing: Sequence[Entry], rules: Rules) -> list[_Set]:
    marker = (rules.marker or "").casefold()
    files = [
        entry
        for entry in listing
        if entry.name.casefold() != marker
        and entry.name.lower().endswith(READABLE)
        and not entry.name.lower().endswith(_UNFINISHED)
    ]
    loose = [entry for entry in files if entry.name.lower().endswith(".csv")]
    others = [entry for entry in files if entry not in loose]
    if not rules.names:  # each file stands for itself; names that differ in digits are one series
        return [_Set(_series(entry.name), (entry,), loose=False) for entry in files]
    sets = [_Set("", (entry,), loose=False) for entry in others]
    if loose:
        sets.append(_Set("", tuple(loose), loose=True))
    return sets


def _series(name: str) -> str:
    return _DIGITS.sub("", name.rpartition(".")[0].casefold())


def _settled(
    inbox: Inbox, sets: list[_Set], rules: Rules, sleep: Callable[[float], None]
) -> list[_Set]:
    """Return the sets of which nothing changed for a while; no clock but the directory's counts."""
    sleep(rules.settle_seconds)
    again = _sets(inbox.listing(), rules)
    return [files for files in sets if files in again]


def _copied(inbox: Inbox, line: list[_Set], rules: Rules, marker: str | None) -> PickedUp:
    folder = tempfile.TemporaryDirectory(prefix="rostersync-")
    try:
        broken: list[_Set] = []
        for number, files in enumerate(line):
            place = Path(folder.name, str(number))
            place.mkdir()
            digest = _copy(inbox, files, place)
            if len(line) == 1 or _is_whole(place, files, rules):
                break
            broken.append(files)
        else:  # none is whole: the newest one's own reading says what is wrong
            number, files, broken = 0, line[0], []
            place = Path(folder.name, "0")
            digest = _digest(files, place)
        target = place if files.loose else place / files.entries[0].name
        picked = PickedUp(
            inbox, target, digest, datetime.fromtimestamp(files.newest[0], UTC), files,
            overtaken=tuple(line[number + 1 :]), broken=tuple(broken), marker=marker,
        )  # fmt: skip
        if broken:
            picked.notes.append("A newer set is damaged or lacks files; an older one is read.")
    except BaseException:
        folder.cleanup()
        raise
    picked._folder = folder
    return picked


def _copy(inbox: Inbox, files: _Set, place: Path) -> str:
    for entry in files.entries:
        if entry.size > MAX_FILE_BYTES:
            raise FileRefused(f"{entry.name} is larger than 4 GiB.")
        to = place / entry.name
        inbox.copy(entry, to)
        if to.stat().st_size != entry.size:
            raise IncompleteFetch(f"{entry.name} was still being written while it was read.")
    if {*files.entries} - {*inbox.listing()}:
        raise IncompleteFetch(f"The files in {inbox.where} changed while they were read.")
    return _digest(files, place)


def _digest(files: _Set, place: Path) -> str:
    """Return the hash of a set's content and names."""
    whole = blake2b(digest_size=16)
    for entry in sorted(files.entries, key=lambda entry: entry.name):
        one = blake2b(digest_size=16)
        with (place / entry.name).open("rb") as stream:
            while chunk := stream.read(1 << 20):
                one.update(chunk)
        name = entry.name if files.loose else ""  # a zip sent again under another name is the same
        whole.update(name.encode() + b"\0" + one.digest())
    return whole.hexdigest()


def _is_whole(place: Path, files: _Set, rules: Rules) -> bool:
    """Say whether a set is worth reading where there is another to read instead."""
    if files.loose:
        return rules.names <= {entry.name.casefold() for entry in files.entries}
    try:
        with open_files(place / files.entries[0].name) as found:
            names = {file.name.casefold() for file in found.files()}
            return bool(names) and rules.names <= names
    except (FileRefused, IncompleteFetch):
        return False


# ------------------------------------------------------------------- a directory of this machine


def plain_name(name: str) -> bool:
    """Say whether a listed name is that of a file to look at: visible, and inside its folder."""
    return not (
        name.startswith(".")
        or name in _OURS
        or "/" in name
        or "\\" in name
        or any(ord(character) < 32 for character in name)
    )
