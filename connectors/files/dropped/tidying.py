"""What becomes of a set that was picked up: moved away with its report, or left where it is.

A move that was begun is ended at the next run. A set that cannot be read whole may still be on its
way: it stays for three looks and ten minutes, and one that somebody writes on in ``failed/`` comes
back (F17).
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

from connectors.contract.connector import Received
from connectors.files.dropped.inbox import Entry, Inbox, Sent
from core.failpoints import failpoint
from core.private_folder import PrivateFolder

REPORT = "report.csv"
JOURNAL = ".rostersync-moving.json"
LOOKED_AT = ".rostersync-looks.json"
AS_IT_WAS = ".rostersync-set.json"
"""Beside a set in ``failed/``: its files as they were when it was moved there."""
LOOKS = 3
LOOKED_AT_FOR = 600.0
"""Seconds."""
MOST_WATCHED = 50
"""So many of the newest sets in ``failed/`` are looked at again."""
_FINISHED = re.compile(r"(processed|failed)/[0-9TZ]{16}-[0-9a-f]{8}(-\d+)?")


@dataclass(slots=True)
class PickedUp:
    """A set that was copied and can be read at ``place``; then ``settle`` it, and ``close``.

    ``digest`` names its content, whatever its files' times.
    """

    inbox: Inbox
    place: Path
    digest: str
    modified: datetime
    chosen: Sent
    overtaken: tuple[Sent, ...]
    broken: tuple[Sent, ...]
    marker: str | None
    notes: list[str] = field(default_factory=list)
    folder: PrivateFolder | None = None

    @property
    def received(self) -> Received:
        """What was sent, for the list of files."""
        entries = self.chosen.entries
        title = ", ".join(entry.name for entry in entries)
        size = sum(entry.size for entry in entries)
        return Received(title, self.digest, size, self.modified)

    def settle(self, *, accepted: bool, final: bool, report: bytes) -> None:
        """Move the set away after what it says was kept.

        ``accepted``: it was read whole. ``final``: what was wrong with it will not mend itself.
        What could not be read whole may still be on its way: it stays for some looks (F17), and a
        loose set that only lacks files for as long as it takes.
        """
        looks = _Looks(self.inbox)
        if accepted:
            self._move(self.chosen, "processed", self.digest, report)
            for old in self.overtaken:
                self._move(old, "processed", _digest_of_entries(old), _said("overtaken"))
        elif final or (not self.chosen.loose and looks.enough(self.chosen)):
            self._move(self.chosen, "failed", self.digest, report)
        for damaged in self.broken:
            if looks.enough(damaged):
                self._move(damaged, "failed", _digest_of_entries(damaged), _said("damaged"))
        looks.keep()

    def _move(self, files: Sent, to: str, digest: str, report: bytes) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        folder = f"{to}/{stamp}-{digest[:8]}"
        inbox = self.inbox
        inbox.make(folder)
        inbox.write(f"{folder}/{REPORT}", report)
        if to == "failed":
            about = [[entry.name, entry.size, entry.modified] for entry in files.entries]
            inbox.write(f"{folder}/{AS_IT_WAS}", json.dumps(about).encode())
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
        finish_move(inbox)

    def close(self) -> None:
        """Throw the copy away."""
        if self.folder is not None:
            self.folder.close()


def _said(what: str) -> bytes:
    sentence = {
        "overtaken": "A newer set was there and was read instead.",
        "damaged": "It is cut in the middle or lacks files; another set was read instead.",
    }[what]
    return f"file,line,column,rule,severity,message,hint\n,,,{what},note,{sentence},\n".encode()


def _digest_of_entries(files: Sent) -> str:
    about = blake2b(digest_size=16)
    for entry in files.entries:
        about.update(f"{entry.name}\0{entry.size}\0{entry.modified}\0".encode())
    return about.hexdigest()


class _Looks:
    """How often, and since when, each set was looked at that could not be read whole (F17)."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._before = _read_looks(inbox)
        self._now: dict[str, tuple[str, float, int]] = {}

    def enough(self, files: Sent) -> bool:
        """Count a look at a set; say whether it has had its time, and nobody has written since."""
        name = ", ".join(entry.name for entry in files.entries)
        digest, now = _digest_of_entries(files), time.time()
        seen, since, looks = self._before.get(name, ("", now, 0))
        if seen != digest or since > now:
            since, looks = now, 0
        if looks + 1 >= LOOKS and now - since >= LOOKED_AT_FOR:
            return True
        self._now[name] = (digest, since, looks + 1)
        return False

    def keep(self) -> None:
        """Write down the looks at what is still there."""
        if self._now:
            self._inbox.write(LOOKED_AT, json.dumps(self._now).encode())
        elif self._before:
            self._inbox.remove(LOOKED_AT)


def _read_looks(inbox: Inbox) -> dict[str, tuple[str, float, int]]:
    try:
        written = json.loads(inbox.read(LOOKED_AT) or b"{}")
        return {
            str(name): (str(digest), float(since), int(looks))
            for name, (digest, since, looks) in written.items()
        }
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return {}


def bring_back(inbox: Inbox) -> None:
    """Bring back the sets that somebody has gone on writing after they were moved to ``failed/``.

    A program that still has a file open writes on in it, wherever it was moved.
    """
    for name in inbox.folders("failed")[-MOST_WATCHED:]:
        folder = f"failed/{name}"
        if not _FINISHED.fullmatch(folder):
            continue
        written = inbox.read(f"{folder}/{AS_IT_WAS}")
        if written is None:
            continue
        there = {entry.name: entry for entry in inbox.listing(folder)}
        try:
            was = [
                Entry(str(one), int(size), float(when)) for one, size, when in json.loads(written)
            ]
        except (ValueError, TypeError, OverflowError, RecursionError):
            was = []
        changed = [one for one in was if one.name in there and there[one.name] != one]
        if not changed or {one.name for one in was} & {one.name for one in inbox.listing()}:
            continue
        for one in was:
            if one.name in there:
                inbox.move(f"{folder}/{one.name}", one.name)
        inbox.remove(f"{folder}/{AS_IT_WAS}")


def finish_move(inbox: Inbox) -> None:
    """Do what the journal says: move the files that are still the ones that were read."""
    content = inbox.read(JOURNAL)
    if content is None:
        return
    try:
        journal = json.loads(content)
        folder = str(journal["folder"])
        files = [Entry(str(name), int(size), float(when)) for name, size, when in journal["files"]]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        folder, files = "", []
    if _FINISHED.fullmatch(folder):
        there = {entry.name: entry for entry in inbox.listing()}
        inbox.make(folder)
        for entry in files:
            if there.get(entry.name) == entry:
                inbox.move(entry.name, f"{folder}/{entry.name}")
                failpoint("pickup.moved")
    inbox.remove(JOURNAL)
