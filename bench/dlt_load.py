"""What a dlt user would write for the same files; runs in dlt's own environment (peers.py).

    python dlt_load.py FOLDER DATABASE

Keeps users and orgs of a OneRoster CSV set in duckdb with their history (merge, scd2).
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt  # type: ignore[import-not-found, unused-ignore]


def rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        yield from csv.DictReader(file)


def main() -> None:
    folder, database = Path(sys.argv[1]), Path(sys.argv[2])
    how: dict[str, Any] = {
        "primary_key": "sourcedId",
        "write_disposition": {"disposition": "merge", "strategy": "scd2"},
    }
    pipeline = dlt.pipeline(
        pipeline_name="roster",
        pipelines_dir=str(database.parent / "pipelines"),
        destination=dlt.destinations.duckdb(str(database)),
        dataset_name="roster",
    )
    pipeline.run(
        [dlt.resource(rows(folder / f"{name}.csv"), name=name, **how) for name in ("orgs", "users")]
    )


if __name__ == "__main__":
    main()
