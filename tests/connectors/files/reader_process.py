"""Reads files in processes of their own, under hard bounds of memory and processor time.

Run as a program with the paths of files; it prints one JSON line for each. The bounds are the
operating system's: a reading that goes past them fails or is killed, whatever the machine is doing.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from connectors.installed import file_formats

FORMATS = file_formats()  # loaded once, before the processes part
CPU_SECONDS = 20
MEMORY = 192 << 20
"""What a reading may take beside the program itself, in bytes of address space."""


def _used() -> float:
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


def _bound() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))


def _read(path: Path) -> dict[str, Any]:
    from connectors.contract.connector import FetchRequest
    from connectors.files.inspection import inspect
    from connectors.files.recognition import recognise
    from connectors.user_csv import UserCsv, UserCsvConfig

    before, peak = _used(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        kinds = recognise(path, FORMATS)
        report = inspect(UserCsv(UserCsvConfig()), FetchRequest(file=str(path)))
    except MemoryError:
        return {"failed": "it ran out of memory"}
    return {
        "kinds": kinds,
        "error": report.error.message if report.error else None,
        "rows": report.rows,
        "usable": report.usable,
        "lines": [one.line for one in report.found[:5]],
        "cpu": round(_used() - before, 2),
        "mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) // 1024,
    }


def main(paths: list[str]) -> None:
    for module in ("openpyxl", "connectors.files.inspection", "connectors.user_csv"):
        import_module(module)  # once, before the processes part
    for path in paths:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _bound()
            print(json.dumps({"name": Path(path).name, **_read(Path(path))}), flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            by = f"killed by signal {status & 127}" if status & 127 else f"ended with {status >> 8}"
            print(json.dumps({"name": Path(path).name, "failed": by}))


if __name__ == "__main__":
    main(sys.argv[1:])
