"""A firm that delivers its people once, in the FINRA FLEX format."""

from __future__ import annotations

from pathlib import Path

from core.storage.database import Database
from sync.acts import flex
from sync.sources.district_load import load_district_file
from tests.kit.user_files import district

HEADER = "crd_id,first_name,last_name,email"


def staff(*numbers: int) -> str:
    """Return a file of the people with these numbers."""
    rows = [f"{n},Sam,Person{n},p{n}@springfield.example" for n in numbers]
    return "".join(f"{line}\n" for line in (HEADER, *rows))


def make_firm(database: Database, tmp_path: Path, config: str = "") -> str:
    """Load a firm with one file source; return its slug."""
    slug = district(database, tmp_path, config, connector="finra_flex")
    file = tmp_path / "district.toml"
    file.write_text(file.read_text().replace("timezone =", 'kind = "firm"\ntimezone =', 1))
    load_district_file(database, file)
    return slug


def available(database: Database) -> None:
    """Say that the firm takes uploads now."""
    flex.set_delivery(database, "springfield", flex.AVAILABLE, actor="ce admin")
