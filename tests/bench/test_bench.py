"""`make bench` and `make bench-model`, on a tiny district: every row is printed and kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ON_A_STORE = {
    "rostersync status, 1,000 districts",
    "start: what a sync of clever loads",
    "first sync",
    "database after the first sync",
    "no change",
    "1 % changed",
    "database, what a change adds",
    "all touched, nothing changed",
    "0.1 % changed, read in full",
    "0.1 % changed, read by events",
    "plan of creates, made",
    "show, summary of that plan",
    "show, first page of that plan",
    "show --format json, the whole plan",
    "export --format csv",
    "export --format json",
    "longest wait of a reader, first sync",
    "longest wait of a hand edit, first sync",
    "longest wait of a reader, 1 % changed",
    "longest wait of a hand edit, 1 % changed",
    "start: what a sync of oneroster_csv loads",
    "OneRoster CSV, first sync",
    "OneRoster CSV, no change",
    "OneRoster CSV, 1 % changed",
}
SECONDS = {
    "rostersync --help": 0.3,
    "rostersync status, 1,000 districts": 1.0,
    "show, summary of that plan": 1.0,
    "show, first page of that plan": 1.0,
    "OneRoster CSV, no change": 1.1,
}
TIMES_ITS_FLOOR = {
    "first sync": 2.5,
    "no change": 3.0,
    "1 % changed": 1.5,
    "all touched, nothing changed": 1.0,
    "0.1 % changed, read by events": 0.05,
}
MEGABYTES = {
    "first sync": 300,
    "no change": 200,
    "1 % changed": 200,
    "OneRoster CSV, no change": 135,
}


def run(module: str, file: Path, *options: str) -> tuple[dict[str, Any], str]:
    ran = subprocess.run(
        [sys.executable, "-m", module, "--json", str(file), "--repeat", "1", *options],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(file.read_text()), ran.stdout


@pytest.mark.long
@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_the_bench_prints_and_keeps_every_row_with_what_it_is_to_reach(
    tmp_path: Path, store: str
) -> None:
    document, printed = run(
        "bench", tmp_path / "bench.json",
        "--size", "300", "--csv-users", "300", "--store", store,
    )  # fmt: skip
    rows = {row["work"]: row for row in document["rows"]}
    assert len(rows) == len(document["rows"])
    assert rows.keys() == ON_A_STORE | {"rostersync --help"}
    assert {row["store"] for row in rows.values()} == {store, "-"}
    for work in rows:
        assert f"\n{work} " in printed
    assert {work: row["reach_seconds"] for work, row in rows.items() if row.get("reach_seconds")} \
        == SECONDS  # fmt: skip
    assert {work: row["reach"] for work, row in rows.items() if row.get("reach")} \
        == TIMES_ITS_FLOOR  # fmt: skip
    assert {work: row["reach_mb"] for work, row in rows.items() if row.get("reach_mb")} \
        == MEGABYTES  # fmt: skip
    assert all(rows[work]["ratio"] > 0 for work in TIMES_ITS_FLOOR)


@pytest.mark.long
def test_the_model_measures_and_projects_what_each_kind_of_connector_can(tmp_path: Path) -> None:
    kinds = ("gg4l", "oneroster_csv-1.2", "user_csv")
    only = [word for kind in kinds for word in ("--only", kind)]
    document, printed = run("bench.model", tmp_path / "model.json", "--size", "300", *only)
    expected = [
        ("GG4L", "first"), ("GG4L", "no change"), ("GG4L", "0.1 % changed"),
        ("OneRoster CSV 1.2", "first"), ("OneRoster CSV 1.2", "no change"),
        ("OneRoster CSV 1.2", "0.1 % changed"),
        ("User CSV", "first"), ("User CSV", "no change"),
    ]  # fmt: skip
    for table in ("measured", "projected"):
        assert [(row["connector"], row["sync"]) for row in document[table]] == expected
    for connector, _ in expected:
        assert printed.count(f"\n{connector} ") == 2 * sum(one == connector for one, _ in expected)
