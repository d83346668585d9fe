"""``run``: stay up and sync every district at its times."""

from __future__ import annotations

import logging
import signal
from datetime import timedelta
from typing import Annotated, Any

import typer

from rostersync.cli.door import Door, command


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    command(app, "run", json=False)(run)


def run(
    door: Door,
    at_once: Annotated[
        int, typer.Option(min=1, max=64, help="How many districts are synced at once.")
    ] = 4,
    timeout: Annotated[
        int, typer.Option(min=1, metavar="MINUTES", help="A sync that takes longer is ended.")
    ] = 120,
) -> None:
    """Stay up and sync every district at its times. Ends on SIGTERM or Ctrl-C."""
    from rostersync.service.service import Bounds, Service
    from sync.run.gc_pause import look_as_usual

    look_as_usual()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    bounds = Bounds(
        at_once=at_once, at_most=max(16, at_once * 4), timeout=timedelta(minutes=timeout)
    )
    service = Service(door.database, bounds=bounds)

    def stop(*_: Any) -> None:
        service.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    door.err.print("Watching. Ctrl-C or SIGTERM ends it.", markup=False)
    service.serve()
    door.err.print("Ended.", markup=False)
