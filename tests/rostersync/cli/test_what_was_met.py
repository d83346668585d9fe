"""``sync`` tells which words of a file it did not understand, and how often."""

from __future__ import annotations

from pathlib import Path

from core.storage.database import Database
from tests.kit.command_line import Cli, D
from tests.kit.oneroster_folder import Folder, Person, students
from tests.kit.user_files import district


def test_words_of_a_csv_that_are_not_understood_are_counted_and_told(
    cli: Cli, tmp_path: Path
) -> None:
    folder = Folder(tmp_path)
    strange = [Person(f"odd{number}", "Odd", grade="Upper Sixth") for number in range(2)]
    folder.write([*students(*range(5)), *strange])
    cli("load", str(folder.file))
    called = cli("sync", D)
    assert called.code == 0
    assert "In new or changed rows: words not understood: grade (2)." in called.out
    assert "Upper Sixth" not in called.out
    again = cli("sync", D)
    assert again.code == 0
    assert "not understood" not in again.out
    folder.write([*students(*range(5)), *strange, Person("odd9", "Odd", grade="Upper Sixth")])
    certificate = cli("sync", D, "--json").document["certificates"]["sis"]
    assert (sum(certificate["unknown"].values()), certificate["extra"]) == (1, {})


def test_the_notes_of_a_reading_are_told_and_people_have_the_ids_of_their_sources(
    cli: Cli, tmp_path: Path
) -> None:
    folder = Folder(tmp_path)
    folder.write(students(*range(3)))
    (manifest,) = tmp_path.rglob("manifest.csv")
    manifest.unlink()
    cli("load", str(folder.file))
    notes = cli("plan", D, "--json").document["certificates"]["sis"]["notes"]
    assert notes
    said = cli("sync", D).out
    for note in notes:
        assert f"\n  {note}\n" in said
    for user in cli("users", D, "--json").document:
        (record,) = user["external_ids"]
        assert record["source"] == "sis"
        assert user["email"] == f"{record['external_id']}@springfield.example"


def test_a_reading_of_changes_tells_how_many_were_called_deleted(cli: Cli, tmp_path: Path) -> None:
    """They stay until a whole reading proves it, and the run says that they are about to leave."""
    folder = Folder(tmp_path)
    everybody = students(*range(8))
    folder.write(everybody)
    cli("load", str(folder.file))
    assert cli("sync", D).code == 0
    folder.write(everybody[:3])
    manifest, file = folder.roster / "manifest.csv", folder.roster / "users.csv"
    manifest.write_text(manifest.read_text().replace("file.users,bulk", "file.users,delta"))
    header, *rows, _ = file.read_text().split("\n")
    gone = [row.replace(",,,", ",tobedeleted,,", 1) for row in rows[:2]]
    file.write_text("\n".join([header, *gone, rows[2], ""]))
    called = cli("sync", D)
    assert called.code == 0
    assert f"2 people leave when their grace ends: rostersync users {D} --leaving" in called.out
    assert len(cli("users", D, "--leaving", "--json").document) == 2
    assert cli("sync", D, "--json").document["left_open"] == {"leaving_people": 2}
    assert len(cli("users", D, "--status", "active", "--json").document) == 8
    assert cli("sync", D, "--json").document["certificates"]["sis"]["incremental"]


def test_check_tells_what_the_last_reading_noted_and_did_not_understand(
    cli: Cli, tmp_path: Path
) -> None:
    """They are told also after a run that met nothing new, and ``status`` names the command."""
    folder = Folder(tmp_path)
    folder.write([*students(*range(3)), Person("odd", "Odd", grade="UI")])
    (manifest,) = tmp_path.rglob("manifest.csv")
    manifest.unlink()
    cli("load", str(folder.file))
    assert "grade: UI (1)" in cli("sync", D).out
    met = cli("runs", D, "--json").document[0]["id"]
    cli("sync", D)
    notes = cli("runs", D, "--json").document[1]["certificates"]["sis"]["notes"]
    assert notes
    checked = cli("check", D)
    assert checked.code == 0
    for note in notes:
        assert checked.out.count(note) == 1
    said = f"words not understood: grade: UI (1). That was in {met}.\n"
    assert said in checked.out
    assert "rostersync check DISTRICT" in cli("status").out


def test_an_upload_tells_words_zeros_and_notes_in_text(
    database: Database, tmp_path: Path, cli: Cli
) -> None:
    slug = district(database, tmp_path, connector="clever_csv")
    folder = tmp_path / "set"
    folder.mkdir()
    header = "School_id,Student_id,Student_number,Last_name,First_name,Grade\n"
    for numbers in ([f"{n:05}" for n in range(95, 110)], [str(n) for n in range(95, 110)]):
        rows = "".join(f"1,s{int(n)},{n},Lima,Ana{n},UI\n" for n in numbers)
        for name, content in (
            ("schools.csv", "School_id,School_name\n1,Lincoln\n"),
            ("students.csv", header + rows),
            ("teachers.csv", "School_id,Teacher_id,Last_name,First_name\n1,t1,Park,Dee\n"),
            ("admins.csv", "Admin_id\na1\n"),
        ):
            (folder / name).write_text(content)
        called = cli("upload", slug, str(folder), *(["--plan"] if numbers[0] == "95" else []))
        assert called.code in (0, 10), called
    flat = " ".join(called.out.split())
    assert "grade: UI (15)" in flat
    assert "Student_number" in flat
    assert "zeros" in flat
    assert "admins.csv" in flat
