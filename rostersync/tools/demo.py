"""The demo (``make demo``): the main job on a made-up district, told in order.

It works in a temporary folder on SQLite and prints each command with what it says, as a person at
the keyboard would see it. A command that answers otherwise than it should ends the demo with 1.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from core.output import told
from rostersync.cli.app import run
from rostersync.emulator import District, Emulator
from rostersync.emulator.district.days import Changes, Day, Joins, Leaves, Returns
from rostersync.emulator.vendors.files import write_oneroster

SEED = 7

DISTRICT_FILE = """\
[[district]]
slug = "springfield"
name = "Springfield USD"
timezone = "America/Chicago"
email_domains = ["a.example"]

[[district.source]]
name = "sis"
connector = "oneroster_csv"
precedence = 1
[district.source.config]
path = "roster.zip"
"""

VENDOR_FILE = """\
[[district]]
slug = "{vendor}-usd"
name = "A district on {title}"
timezone = "America/New_York"

[[district.source]]
name = "{vendor}"
connector = "{vendor}"
precedence = 1
[district.source.config]
{config}
"""

VENDORS = {"clever": "Clever", "classlink": "ClassLink", "gg4l": "GG4L School Passport"}


class _Demo:
    """Prints the story and runs its commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.console = Console(highlight=False)

    def part(self, title: str) -> None:
        """Begin a part of the story."""
        self.console.print()
        self.console.rule(f"[bold]{title}", align="left")

    def tell(self, text: str) -> None:
        """Say what happens next."""
        self.console.print()
        self.console.print(f"[italic]{text}")

    def do(self, *arguments: str, code: int = 0) -> None:
        """Run one of our commands; end the demo if its exit code is not the expected one."""
        self.console.print(f"\n[bold green]$ rostersync {' '.join(arguments)}")
        sys.stdout.flush()
        got = run([*arguments])
        sys.stdout.flush()
        sys.stderr.flush()
        if got:
            self.console.print(f"[dim](exit code {got})")
        if got != code:
            self.console.print(f"[bold red]The demo expected exit code {code}: this is a bug.")
            raise SystemExit(1)

    def say(self, text: str) -> None:
        """Print a line of plain text."""
        self.console.print(text)

    # -- the first part: a roster in files

    def files(self) -> None:
        """Tell the main job on OneRoster files."""
        district = District(
            seed=SEED, users=400, schools=3, name="Springfield USD",
            days=(
                Day(Joins(3, role="student"), Leaves(2, role="student"), Changes(4)),
                Day(Returns(1), Changes(1)),
                Day(Leaves(60, role="student")),
            ),
        )  # fmt: skip
        roster = Path("roster.zip")
        Path("district.toml").write_text(DISTRICT_FILE, encoding="utf-8")
        write_oneroster(district, roster, day=0)

        self.part("1. A first roster")
        self.tell("The district's IT admin describes the district in a file, and loads it.")
        self.do("load", "district.toml")
        self.tell("What would a sync change? A plan changes nobody.")
        self.do("plan", "springfield")
        self.tell("That is right: apply exactly this plan.")
        self.do("apply", "P1")

        self.part("2. A substitute, by hand")
        self.tell(
            "A substitute teacher whom no roster has. She is protected: no sync archives her."
        )
        self.do(
            "user", "add", "springfield", "--given", "Wanda", "--family", "Moss",
            "--role", "teacher", "--email", "wanda.moss@a.example",
        )  # fmt: skip

        self.part("3. The second day")
        self.tell("Three students joined, two left, four people changed.")
        write_oneroster(district, roster, day=1)
        self.do("plan", "springfield")
        self.do("sync", "springfield")
        self.tell("The third day: somebody came back. The same person, with id and history.")
        write_oneroster(district, roster, day=2)
        self.do("sync", "springfield")
        self.do("users", "springfield", "--origin", "manual")

        self.part("4. A file cut in the middle")
        self.tell(
            "The export broke off. An incomplete roster archives nobody, and cannot be approved."
        )
        whole = roster.read_bytes()
        roster.write_bytes(whole[: len(whole) // 2])
        self.do("sync", "springfield", code=12)
        self.tell("Here the zip is whole, but its users.csv is not.")
        _cut_users(district, roster, day=2)
        self.do("sync", "springfield", code=12)

        self.part("5. A roster that shrank")
        self.tell(
            "Sixty students are missing from a complete roster. Too many: a person must look."
        )
        write_oneroster(district, roster, day=3)
        self.do("sync", "springfield", code=10)
        self.tell("They moved away with the closed school; the admin approves.")
        held = self._held()
        self.do("approve", held, "--reason", "the closed school")
        self.do("sync", "springfield")
        self.tell("Every change is in the ledger, and the ledger can be verified.")
        self.do("runs", "springfield")
        self.do("db", "verify")

    def _held(self) -> str:
        from core.storage.database import open_database
        from sync.run.display import PLAN, shown_id

        database = open_database(os.environ["ROSTERSYNC_DATABASE_URL"])
        with database.read() as connection:
            number = connection.exec_driver_sql("SELECT id FROM plans WHERE standing").scalar_one()
        database.engine.dispose()
        return shown_id(PLAN, int(number))

    # -- the second part: the three vendors

    def vendors(self) -> None:
        """Sync a district from each vendor's emulator, over real HTTP."""
        self.part("6. Clever, ClassLink and GG4L, over HTTP from local emulators")
        for vendor, title in VENDORS.items():
            district = District(seed=SEED, users=300, schools=2, days=(Day(Leaves(1), Joins(2)),))
            with Emulator(district, vendor=vendor) as emulator:
                lines = []
                for key, value in emulator.config().items():
                    if _is_secret(key):
                        variable = f"DEMO_{vendor}_{key}".upper()
                        os.environ[variable] = str(value)
                        lines.append(f'{key} = "env:{variable}"')
                    else:
                        lines.append(f"{key} = {_toml(value)}")
                file = Path(f"{vendor}.toml")
                file.write_text(
                    VENDOR_FILE.format(vendor=vendor, title=title, config="\n".join(lines)),
                    encoding="utf-8",
                )
                self.tell(f"{title}: the first sync, a second one, and the next day.")
                self.do("load", str(file))
                self.do("sync", f"{vendor}-usd")
                self.do("sync", f"{vendor}-usd")
                emulator.day = 1
                self.do("sync", f"{vendor}-usd")


def _cut_users(district: District, roster: Path, day: int) -> None:
    folder = Path("cut")
    write_oneroster(district, folder, day=day)
    users = folder / "users.csv"
    users.write_bytes(users.read_bytes()[:-40])
    roster.unlink()
    shutil.make_archive(str(roster.with_suffix("")), "zip", folder)


def _is_secret(key: str) -> bool:
    return any(word in key for word in ("token", "secret", "bearer", "key")) and "url" not in key


def _toml(value: object) -> str:
    if isinstance(value, bool | int | float):
        return str(value).lower()
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="rostersync-demo-") as name:
        os.chdir(name)
        os.environ["ROSTERSYNC_DATABASE_URL"] = "sqlite:///demo.db"
        try:
            yield Path(name)
        finally:
            os.chdir(before)


def main() -> int:
    """Run the demo; return its exit code."""
    with _temporary_folder() as folder:
        demo = _Demo(folder)
        demo.files()
        demo.vendors()
    demo.part("Going on from here")
    demo.say(
        "\n  Your own roster:  write a district file like the one above (docs/getting-started.md),"
        "\n                    then: rostersync load FILE.toml && rostersync plan DISTRICT"
        "\n  Every command:    .venv/bin/rostersync --help"
        "\n  A vendor to play with:  .venv/bin/rostersync emulate"
        "\n  The tests:        make test"
    )
    return 0


if __name__ == "__main__":
    sys.exit(told(main))
