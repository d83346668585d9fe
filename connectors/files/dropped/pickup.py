"""Picking up a set of files from a directory that somebody else fills.

Used by ``connectors.files.file_connector`` for a local drop directory (``inbound``) and for one on
a server (``sftp``). A set is chosen, copied to a private folder and read there; it is moved away
only after its data are stored (``connectors.files.dropped.tidying``). After a crash in between
nothing is picked up twice, because the set's content is recognised by its hash.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from connectors.files.csv_file import MAX_FILE_BYTES
from connectors.files.dropped.inbox import Entry, Inbox, Sent
from connectors.files.dropped.tidying import PickedUp, bring_back, finish_move
from connectors.files.file_set import file_time, open_files
from core.errors import FileRefused, IncompleteFetch, NothingNew
from core.private_folder import PrivateFolder
from core.steps import log_of, step

log = log_of(__name__)

READABLE = (".csv", ".zip", ".xlsx")
_UNFINISHED = (".part", ".filepart", ".tmp", ".temp", ".crdownload", ".partial", ".swp", "~")
_DIGITS = re.compile(r"[\d_\-.T ]+")


@dataclass(frozen=True, slots=True)
class Rules:
    """How a directory's files make sets.

    ``names`` are the files, folded, that loose files need to be one set; empty: each loose file is
    a set of its own. ``marker`` is the name of the file that says that a set is complete; without
    one, a set is picked up when nothing in it has changed for ``settle_seconds``.
    """

    names: frozenset[str] = frozenset()
    marker: str | None = None
    settle_seconds: float = 5.0


# ------------------------------------------------------------------------------- picking up


def pick_up(inbox: Inbox, rules: Rules, sleep: Callable[[float], None] = time.sleep) -> PickedUp:
    """Copy the newest complete set.

    Raises ``NothingNew`` when there is no set, or none that is all there yet; ``IncompleteFetch``
    when a file changes while it is copied; ``FileRefused`` for a file that is too large.
    """
    inbox.listing()  # links in place of our folders are refused before anything is moved
    finish_move(inbox)
    bring_back(inbox)
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


def _sets(listing: Sequence[Entry], rules: Rules) -> list[Sent]:
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
    if not rules.names:  # each file is a set; names that differ only in digits are one series
        return [Sent(_series(entry.name), (entry,), loose=False) for entry in files]
    sets = [Sent("", (entry,), loose=False) for entry in others]
    if loose:
        sets.append(Sent("", tuple(loose), loose=True))
    return sets


def _series(name: str) -> str:
    return _DIGITS.sub("", name.rpartition(".")[0].casefold())


def _settled(
    inbox: Inbox, sets: list[Sent], rules: Rules, sleep: Callable[[float], None]
) -> list[Sent]:
    """Return the sets in which nothing changed for a while, by the clock of the directory."""
    sleep(rules.settle_seconds)
    again = _sets(inbox.listing(), rules)
    return [files for files in sets if files in again]


def _copied(inbox: Inbox, line: list[Sent], rules: Rules, marker: str | None) -> PickedUp:
    folder = PrivateFolder()
    try:
        broken: list[Sent] = []
        for number, files in enumerate(line):
            place = folder.path / str(number)
            place.mkdir()
            for entry in files.entries:
                folder.reserve(place / entry.name, entry.size)
            digest = _copy(inbox, files, place)
            if len(line) == 1 or _is_whole(place, files, rules):
                break
            broken.append(files)
        else:  # none is complete: reading the newest one will say what is wrong
            number, files, broken = 0, line[0], []
            place = folder.path / "0"
            digest = _digest(files, place)
        target = place if files.loose else place / files.entries[0].name
        picked = PickedUp(
            inbox, target, digest, file_time(files.newest[0]), files,
            overtaken=tuple(line[number + 1 :]), broken=tuple(broken), marker=marker,
        )  # fmt: skip
        if broken:
            picked.notes.append("A newer set is damaged or lacks files; an older one is read.")
    except BaseException:
        folder.close()
        raise
    picked.folder = folder
    return picked


def _copy(inbox: Inbox, files: Sent, place: Path) -> str:
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


def _digest(files: Sent, place: Path) -> str:
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


def _is_whole(place: Path, files: Sent, rules: Rules) -> bool:
    """Return whether a set is worth reading if there is another one instead."""
    if files.loose:
        return rules.names <= {entry.name.casefold() for entry in files.entries}
    try:
        with open_files(place / files.entries[0].name) as found:
            names = {file.name.casefold() for file in found.files()}
            return bool(names) and rules.names <= names
    except (FileRefused, IncompleteFetch):
        return False
