"""User files, a district that takes them, and a drop directory to put them in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from core.storage.database import Database
from sync.sources.district_load import load_district_file

HEADER = "firstname,lastname,email,role,gradyear,status,idnumber"


def row(number: int, role: str = "student", **values: str) -> str:
    """Return the row of one made-up person."""
    one = {
        "firstname": "Sam", "lastname": f"Person{number:03}",
        "email": f"p{number:03}@springfield.example", "role": role,
        "gradyear": "2030" if role == "student" else "", "status": "Active",
        "idnumber": f"9{number:03}",
    }  # fmt: skip
    one |= values
    return ",".join(one[name] for name in HEADER.split(","))


def people(numbers: Iterable[int], role: str = "student") -> str:
    """Return a user file of people with these numbers."""
    return "".join(f"{line}\n" for line in (HEADER, *(row(number, role) for number in numbers)))


def district(
    database: Database,
    folder: Path,
    config: str = "",
    *,
    connector: str = "user_csv",
    more: str = "",
    slug: str = "springfield",
) -> str:
    """Load a district with one file source; return its slug."""
    file = folder / "district.toml"
    file.write_text(
        f'[[district]]\nslug = "{slug}"\nname = "Springfield USD"\n'
        'timezone = "America/Chicago"\nemail_domains = ["springfield.example"]\n'
        f'{more}\n[[district.source]]\nname = "people"\nconnector = "{connector}"\n'
        f"[district.source.config]\n{config}\n"
    )
    load_district_file(database, file)
    return slug


def active(database: Database) -> int:
    """Count the active users."""
    with database.read() as connection:
        query = "SELECT COUNT(*) FROM users WHERE status = 'active'"
        return int(connection.exec_driver_sql(query).scalar_one())
