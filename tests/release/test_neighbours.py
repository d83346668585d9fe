"""The wheel beside other people's packages called ``core``: each keeps its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from textwrap import dedent

import pytest

from tests.release.installed import PROJECT, Environment, build_wheel, new_environment, pip

ROSTER = PROJECT / "rostersync" / "testing" / "ours" / "user_csv" / "roster"
DISTRICT = """\
[[district]]
slug = "example"
name = "Example USD"
timezone = "America/Chicago"

[[district.source]]
name = "office"
connector = "user_csv"
precedence = 1
[district.source.config]
path = "roster"
"""
ASK_WHOSE = (
    "import core, rostersync, json\n"
    "from rostersync import open_database\n"
    "print(json.dumps([core.WHOSE, core.__file__]))"
)


def _write(folder: Path, **files: str) -> Path:
    """Write files, whose names have two underscores for each slash, below ``folder``."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    return folder


def _district(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "district.toml").write_text(DISTRICT)
    shutil.copytree(ROSTER, folder / "roster")
    return folder


def _another_project(folder: Path) -> Path:
    """Write a project of somebody else that installs packages called ``core`` and ``sync``."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "other"\nversion = "1"\n'
        '[tool.hatch.build.targets.wheel]\npackages = ["core", "sync"]\n'
        '[tool.hatch.build]\ndev-mode-dirs = ["."]\n'
    )
    for package in ("core", "sync"):
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text('WHOSE = "theirs"\n')
        (folder / package / "errors.py").write_text("class Mine(Exception): ...\n")
    return folder


def _syncs(environment: Environment, folder: Path) -> None:
    """See that a district syncs by the command line, whatever lies in the folder."""
    environment.rostersync("load", "district.toml", cwd=folder)
    synced = environment.rostersync("sync", "example", cwd=folder)
    assert synced["status"] == "applied"
    assert len(environment.rostersync("users", "example", cwd=folder)) > 0


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_another_wheel_with_a_core_is_installed_beside_it(
    tmp_path: Path, wheel: Path, first: str
) -> None:
    (tmp_path / "wheels").mkdir()
    theirs = build_wheel(_another_project(tmp_path / "other"), tmp_path / "wheels")
    order = (wheel, theirs) if first == "ours" else (theirs, wheel)
    environment = new_environment(tmp_path / "venv", order[0])
    pip("--python", environment.python, "install", "--no-deps", "--no-index", order[1])
    assert environment.ask(ASK_WHOSE)[0] == "theirs"
    _syncs(environment, _district(tmp_path / "district"))

    uninstalled = "rostersync" if first == "ours" else "other"
    pip("--python", environment.python, "uninstall", "--yes", uninstalled)
    if uninstalled == "rostersync":
        assert environment.ask("import core; print(f'\"{core.WHOSE}\"')") == "theirs"
    else:
        assert environment.rostersync("users", "example", cwd=tmp_path / "district")


def test_an_editable_core_of_the_user_is_left_in_its_place(tmp_path: Path, wheel: Path) -> None:
    environment = new_environment(tmp_path / "venv", wheel)
    theirs = _another_project(tmp_path / "other")
    pip(
        "--python", environment.python, "install", "--no-deps", "--no-build-isolation",
        "--no-index", "--editable", theirs,
    )  # fmt: skip
    assert environment.ask(ASK_WHOSE) == ["theirs", str(theirs / "core" / "__init__.py")]
    _syncs(environment, _district(tmp_path / "district"))


def test_a_core_in_the_folder_of_the_user_is_left_in_its_place(
    tmp_path: Path, alone: Environment
) -> None:
    folder = _district(_another_project(tmp_path / "other"))
    printed = alone.call("-c", ASK_WHOSE, cwd=folder)
    assert str(folder / "core" / "__init__.py") in printed
    _syncs(alone, folder)


def test_a_django_project_with_its_own_core_embeds_it(tmp_path: Path, alone: Environment) -> None:
    pytest.importorskip("django", reason="Django is not installed (pip install '.[dev]')")
    project = _write(
        _district(tmp_path / "project"),
        manage="""
            import os, sys
            os.environ.setdefault("DJANGO_SETTINGS_MODULE", "school.settings")
            from django.core.management import execute_from_command_line
            execute_from_command_line(sys.argv)
        """,
        school__settings="""
            from pathlib import Path
            SECRET_KEY = "for a test only"
            INSTALLED_APPS = ["core", "sync"]
            DATABASES = {"default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": Path(__file__).parent / "school.db",
            }}
            USE_TZ = True
            DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
        """,
        core__models="""
            from django.db import models
            class Pupil(models.Model):
                key = models.CharField(max_length=40, unique=True)
        """,
        sync__models="""
            from django.db import models
            class Run(models.Model):
                status = models.CharField(max_length=40)
        """,
        core__management__commands__roster="""
            from pathlib import Path

            import rostersync
            from core.models import Pupil
            from django.core.management.base import BaseCommand
            from sync.models import Run

            class Command(BaseCommand):
                def handle(self, **options):
                    here = Path.cwd()
                    database = rostersync.open_database(f"sqlite:///{here}/rosters.db")
                    rostersync.load_district(database, here / "district.toml")
                    outcome = rostersync.sync(database, "example", actor="django")
                    Run.objects.create(status=str(outcome.status))
                    for user in rostersync.users(database, "example"):
                        Pupil.objects.update_or_create(key=user["id"])
                    self.stdout.write(f"{Pupil.objects.count()} {Run.objects.get().status}")
        """,
    )
    for package in ("school", "core", "sync", "core/management", "core/management/commands"):
        (project / package / "__init__.py").touch()
    manage = str(project / "manage.py")
    alone.call(manage, "check", cwd=project)
    alone.call(manage, "migrate", "--run-syncdb", cwd=project)
    count, status = alone.call(manage, "roster", cwd=project).split()
    assert int(count) > 0
    assert status == "applied"
