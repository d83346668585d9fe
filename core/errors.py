"""Every error a caller can meet, named by what to do next.

An error carries a slug (``code``), a sentence (``message``) and what to do (``hint``), and the exit
code of the outside contract. No message carries a name, an email address or a secret; people are
named by user id, rows by file and line.
"""

from __future__ import annotations

from typing import ClassVar


class RosterSyncError(Exception):
    """An internal error without a more specific name: please report it."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    status: ClassVar[str] = "failed"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def as_json(self) -> dict[str, str]:
        """Return the error document of the command line: ``{"code", "message", "hint"}``."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class UsageError(RosterSyncError):
    """The command or call names something that is not there, or cannot be asked for."""

    code = "usage"
    exit_code = 2
    status = "refused"


class UnknownCursor(UsageError):
    """An app asks for the changes after one that this ledger never had: a backup was restored.

    Answering would skip changes or repeat them, so the app must read all users once.
    ``go_on_from`` is the cursor to take first and to go on from afterwards.
    """

    code = "unknown_cursor"

    def __init__(self, message: str, *, go_on_from: str, district: str) -> None:
        super().__init__(
            f"{message} A backup was restored, or this is another database.",
            hint=f"Read all users anew (rostersync users {district} --json), then go on from"
            f" {go_on_from}.",
        )
        self.go_on_from = go_on_from

    def as_json(self) -> dict[str, str]:
        """Return the error document, with the cursor to go on from."""
        return super().as_json() | {"go_on_from": self.go_on_from}


class ConfigError(UsageError):
    """A configuration cannot be used: tell the admin which key, and stop this source."""

    code = "config"


class WrongDistrict(ConfigError):
    """The credentials belong to another district than the one this source is bound to (L9)."""

    code = "wrong_district"


class CredentialsRefused(RosterSyncError):
    """The vendor refused the credentials: stop this source and tell the admin."""

    code = "credentials_refused"
    exit_code = 14
    status = "refused"


class FileRefused(RosterSyncError):
    """The input file is not what it should be: say why, change nothing."""

    code = "file_refused"
    exit_code = 15
    status = "refused"


class VendorFailure(RosterSyncError):
    """The vendor failed, and retrying did not help: nobody leaves, try at the next run."""

    code = "vendor_failure"
    exit_code = 12
    status = "incomplete"


class RetryableError(VendorFailure):
    """The vendor failed in a way that may pass: retry after ``retry_after`` seconds, if given."""

    code = "retryable"

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class IncompleteFetch(VendorFailure):
    """The reading of a source ended early: complete records may be used, nobody leaves."""

    code = "incomplete"


class ConnectorFailed(VendorFailure):
    """A connector failed by itself: its source was not read, the others of the district go on."""

    code = "connector_failed"


class Disconnected(VendorFailure):
    """The vendor no longer lists the district: keep its data, archive nobody, tell the admin."""

    code = "disconnected"


class NothingNew(RosterSyncError):
    """A drop folder holds no new set: nothing is wrong, and nothing is read (F7)."""

    code = "nothing_new"
    exit_code = 0
    status = "nothing_to_do"


class RestartFetch(RosterSyncError):
    """The roster changed during the reading: discard what was read and start again."""

    code = "restart_fetch"
    exit_code = 12
    status = "incomplete"


class CursorLost(RosterSyncError):
    """The vendor no longer knows where an incremental fetch should go on: fetch in full."""

    code = "cursor_lost"
    exit_code = 12
    status = "incomplete"


class SkipRecord(RosterSyncError):
    """One row cannot be used. It is counted and listed; its person stays as they are (F5).

    ``rule`` is a slug, ``column`` the field at fault, ``key`` the row's external id if it could be
    read. Without a key nobody of that file's scope leaves in this run.
    """

    code = "skip_record"

    def __init__(
        self, message: str, *, rule: str, column: str = "", key: str | None = None, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.rule = rule
        self.column = column
        self.key = key


class DoubtfulKey(SkipRecord):
    """A row is refused because of its key, so it may be about anybody (F12).

    If one person of the source has the row's names, that person stays; otherwise nobody leaves.
    """


class Held(RosterSyncError):
    """At least one change waits for a person's approval."""

    code = "held"
    exit_code = 10
    status = "held"


class Drift(RosterSyncError):
    """The plan no longer fits the directory or the evidence: nothing was changed."""

    code = "drift"
    exit_code = 11
    status = "drifted"


class RunEnded(RosterSyncError):
    """A run was ended from outside: by a person at the keyboard, or by the operating system."""

    code = "interrupted"
    exit_code = 130


class Busy(RosterSyncError):
    """Another run of this district is under way: try again when it has ended."""

    code = "busy"
    exit_code = 13
    status = "busy"


class LockLost(Busy):
    """The lock of a run has ended while the run went on: it stops before it writes anything."""

    code = "lock_lost"


class RunTooLong(RosterSyncError):
    """The run took longer than it may: it was ended, and the next one goes on from there."""

    code = "run_too_long"
    exit_code = 12
    status = "incomplete"
