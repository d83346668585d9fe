"""A misspelt school in the settings is told by ``check`` and ``load``, before it holds anybody."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.models import fold_name
from core.storage.database import Database
from rostersync.emulator import District
from sync.sources.check import check_district
from sync.sources.named_schools import not_there
from tests.kit.command_line import Cli, D
from tests.kit.oneroster_folder import Folder, students
from tests.kit.vendor_world import at_vendor
from tests.kit.world import SLUG

SCHOOLS = {"s1": "Lincoln High", "s2": "Washington Middle", "s3": "Jefferson Elementary"}


@given(st.sampled_from(sorted(SCHOOLS.values())), st.data())
def test_one_wrong_letter_is_always_told_and_its_school_suggested(
    name: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(name) - 1))
    letter = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz "))
    wrong = data.draw(
        st.sampled_from(
            [name[:at] + letter + name[at:], name[:at] + name[at + 1 :], name.upper(), name.lower()]
        )
    )
    assume(wrong not in SCHOOLS.values())
    (said,) = not_there([wrong, *SCHOOLS], SCHOOLS, "The source sis")
    assert said == f"The source sis has no school {wrong!r}. Did you mean {name!r}?"
    assert fold_name(name)


@given(st.lists(st.sampled_from([*SCHOOLS, *SCHOOLS.values()])))
def test_nothing_is_said_of_a_school_that_is_there(wanted: list[str]) -> None:
    assert list(not_there(wanted, SCHOOLS, "The source sis")) == []


def test_a_school_unlike_any_other_gets_the_list() -> None:
    (said,) = not_there(["Zzz"], SCHOOLS, "The source sis")
    assert said.endswith("It has: Jefferson Elementary, Lincoln High, Washington Middle.")


def restricted(folder: Folder, school: str) -> str:
    """Return a district file whose source is restricted to a school, a limit to another."""
    text = folder.file.read_text().replace(
        "[district.source.config]", f'[district.source.config]\nschools = ["{school}"]'
    )
    limit = '[[district.limits.override]]\nschool = "Lincon High"\npercent = 20\nleast = 9\n'
    return text.replace("[[district.source]]", f"{limit}[[district.source]]", 1)


def test_check_and_load_tell_it_on_the_command_line(cli: Cli, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write(students(*range(5)))
    whole = folder.file.read_text()
    folder.file.write_text(restricted(folder, "Lincon High"))
    # before anything was read, check looks into the files themselves
    first = cli("load", str(folder.file))
    assert first.code == 0
    assert "which schools the source has is not known yet; rostersync check springfield" in (
        first.out
    )
    checked = cli("check", D)
    assert checked.code == 2
    assert "The source sis has no school 'Lincon High'. Did you mean 'Lincoln High'?" in checked.out
    # afterwards load knows it, too
    folder.file.write_text(whole)
    cli("load", str(folder.file))
    assert cli("sync", D).code == 0
    folder.file.write_text(restricted(folder, "Lincon High"))
    for arguments in (("--dry-run",), ()):
        loaded = cli("load", str(folder.file), *arguments)
        assert loaded.code == 0
        assert (
            "config.schools: The source sis has no school 'Lincon High'."
            " Did you mean 'Lincoln High'?"
        ) in loaded.out
        assert "limits.override: The district has no school 'Lincon High'." in loaded.out
    (district,) = cli("load", str(folder.file), "--json").document["districts"]
    assert len(district["warnings"]) == 1
    assert len(district["sources"][0]["warnings"]) == 1
    lines = cli("check", D, "--json").document["sources"][0]["checks"]
    assert {line["name"] for line in lines if not line["passed"]} == {"filter", "limits"}


@pytest.mark.parametrize("vendor", ["clever", "classlink", "gg4l", "oneroster12"])
def test_every_server_is_asked_for_its_schools(store: Database, vendor: str) -> None:
    district = District(seed=2, users=20, schools=2)
    with at_vendor(store, district, vendor, config={"schools": ["No Such School"]}) as world:
        (found,) = check_district(world.database, SLUG)
        (said,) = [line for line in found.lines if line.name == "filter"]
        assert not said.passed
        assert "has no school 'No Such School'" in said.message
        assert found.exit_code == 2
