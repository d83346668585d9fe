"""The ledger, verified: what ``db verify`` prints."""

from __future__ import annotations

from rostersync.cli.door import Door


def verify(door: Door, district: str | None) -> int:
    """Check the hash chain of one district, or of all."""
    from sync import views
    from sync.ledger import verify as check

    if district is not None:
        with door.reading() as connection:
            views.district_row(connection, district)
    report = check(door.database, district)
    door.document(report)
    return 0
