"""Reading over SFTP: an in-process server that fails on request, and a real OpenSSH."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from connectors.files.dropped.pickup import Rules, pick_up
from connectors.files.dropped.sftp import SftpConfig, SftpInbox
from core.errors import Busy, ConfigError, CredentialsRefused, NothingNew
from core.storage.database import Database
from sync.engine import sync_district
from tests.connectors.files.sftpd import PASSWORD, SSHD, Server, in_process, openssh
from tests.connectors.files.test_drop_folder import finished, left, put, sync
from tests.kit.databases import cannot_run
from tests.kit.user_files import active, district, people

pytestmark = pytest.mark.any_store


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFTP_PASSWORD", PASSWORD)


@pytest.fixture
def server(drop: Path) -> Iterator[Server]:
    with in_process(drop) as running:
        yield running


@pytest.fixture(params=["in_process", "openssh"])
def either(request: pytest.FixtureRequest, drop: Path, tmp_path: Path) -> Iterator[Server]:
    if request.param == "in_process":
        with in_process(drop) as running:
            yield running
        return
    if SSHD is None:
        cannot_run("OpenSSH's sshd is not installed (Debian: openssh-server).")
    work = tmp_path / "sshd"
    work.mkdir(mode=0o700)
    with openssh(drop, work) as running:
        yield running


def test_flex_4_7_a_set_is_read_over_sftp_and_moved_away_with_its_report(
    database: Database, tmp_path: Path, drop: Path, either: Server
) -> None:
    slug = district(database, tmp_path, either.config())
    put(drop, "people.csv", people(range(5)))
    assert sync(database, slug).status == "applied"
    assert (active(database), left(drop)) == (5, [])
    assert sorted(finished(drop, "processed")) == ["people.csv", "report.csv"]
    assert sync(database, slug).status == "nothing_to_do"
    put(drop, "people.csv", people(range(5)))
    outcome = sync(database, slug)
    assert outcome.certificates["people"]["unchanged"] is True, "the same file twice"
    assert left(drop) == []
    put(drop, "people.csv", "nonsense\n1\n")
    assert sync(database, slug).exit_code == 15
    assert (active(database), left(drop)) == (5, [])


def test_a_server_with_another_host_key_gets_no_password(
    database: Database, tmp_path: Path, drop: Path, either: Server
) -> None:
    other = paramiko.ECDSAKey.generate()
    kind = either.host_key.split()[0]
    if kind == "ssh-ed25519":
        stranger = tmp_path / "stranger"
        import subprocess

        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stranger)], check=True
        )
        key = " ".join((tmp_path / "stranger.pub").read_text().split()[:2])
    else:
        key = f"{other.get_name()} {other.get_base64()}"
    slug = district(database, tmp_path, either.config(host_key=key))
    put(drop, "people.csv", people(range(5)))
    outcome = sync(database, slug)
    assert outcome.exit_code == 2
    assert isinstance(outcome.error, ConfigError)
    assert "another host key" in outcome.error.message
    assert left(drop) == ["people.csv"]


def test_a_known_hosts_file_is_believed_and_a_host_not_in_it_is_not(
    database: Database, tmp_path: Path, drop: Path, either: Server
) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{either.port} {either.host_key}\n")
    config = either.config(host_key=None, known_hosts="known_hosts")
    slug = district(database, tmp_path, config)
    put(drop, "people.csv", people(range(5)))
    assert sync(database, slug).status == "applied"
    known.write_text(f"elsewhere.example {either.host_key}\n")
    outcome = sync(database, slug)
    assert outcome.exit_code == 2
    assert outcome.error is not None
    assert "not known" in outcome.error.message


def test_a_wrong_password_is_refused_as_credentials(
    database: Database, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SFTP_PASSWORD", "another word 99")
    outcome = sync(database, district(database, tmp_path, server.config()))
    assert outcome.exit_code == 14
    assert isinstance(outcome.error, CredentialsRefused)
    assert "another word" not in f"{outcome.error.message}{outcome.error.hint}"


def test_a_key_that_the_server_does_not_know_is_refused_as_credentials(
    database: Database, tmp_path: Path, drop: Path
) -> None:
    if SSHD is None:
        cannot_run("OpenSSH's sshd is not installed (Debian: openssh-server).")
    work = tmp_path / "sshd"
    work.mkdir(mode=0o700)
    with openssh(drop, work) as running:
        (work / "authorized").write_text("")
        outcome = sync(database, district(database, tmp_path, running.config()))
    assert outcome.exit_code == 14


@pytest.mark.parametrize("step", ["list", "open", "read", "stat", "mkdir", "write", "move"])
def test_a_connection_cut_in_any_step_loses_and_doubles_nothing(
    database: Database, tmp_path: Path, drop: Path, server: Server, step: str
) -> None:
    slug = district(database, tmp_path, server.config())
    put(drop, "people.csv", people(range(5)))
    cuts: list[str] = []

    def cut_once(now: str) -> bool:
        if now == step and not cuts:
            cuts.append(now)
            return True
        return False

    server.cut = cut_once
    first = sync(database, slug)
    assert cuts == [step], "the step was reached"
    assert first.exit_code in (0, 12)
    assert "people.csv" in left(drop) or "people.csv" in finished(drop, "processed")
    for _ in range(2):
        assert sync(database, slug).exit_code == 0
    assert (active(database), left(drop)) == (5, [])
    with database.read() as connection:
        creates = connection.exec_driver_sql("SELECT COUNT(*) FROM changes").scalar_one()
    assert creates == 5, "nobody was created twice"


def test_a_server_that_is_not_there_is_a_failure_that_passes(
    database: Database, tmp_path: Path, server: Server
) -> None:
    slug = district(database, tmp_path, server.config(port=1))
    outcome = sync(database, slug)
    assert outcome.exit_code == 12


def test_a_directory_that_is_not_there_is_a_mistake_in_the_configuration(
    database: Database, tmp_path: Path, either: Server
) -> None:
    slug = district(database, tmp_path, either.config(directory=str(tmp_path / "nowhere")))
    assert sync(database, slug).exit_code == 2


def test_a_file_still_growing_on_the_server_is_not_picked_up(drop: Path, either: Server) -> None:
    put(drop, "people.csv", people(range(5)))
    with open_inbox(either) as inbox:

        def grow(_seconds: float) -> None:
            put(drop, "people.csv", people(range(9)))

        with pytest.raises(NothingNew):
            pick_up(inbox, Rules(), sleep=grow)


class open_inbox:
    def __init__(self, server: Server) -> None:
        key = Path(server.private_key).read_text() if server.private_key else None
        config = SftpConfig.model_validate(
            {
                "host": "127.0.0.1", "port": server.port, "username": server.username,
                "password": server.password, "private_key": key, "host_key": server.host_key,
                "directory": str(server.folder),
            }
        )  # fmt: skip
        self.inbox = SftpInbox(config)

    def __enter__(self) -> SftpInbox:
        return self.inbox

    def __exit__(self, *_: object) -> None:
        self.inbox.close()


def test_of_two_workers_at_once_one_reads_and_the_other_is_busy(
    database: Database, tmp_path: Path, drop: Path, server: Server
) -> None:
    slug = district(database, tmp_path, server.config())
    put(drop, "people.csv", people(range(5)))
    reached, go_on = threading.Event(), threading.Event()

    def wait_once(step: str) -> bool:
        if step == "open" and not reached.is_set():
            reached.set()
            assert go_on.wait(30)
        return False

    server.cut = wait_once
    outcomes = []
    first = threading.Thread(target=lambda: outcomes.append(sync(database, slug)))
    first.start()
    assert reached.wait(30)
    try:
        with pytest.raises(Busy):
            sync_district(database, slug, actor="second worker")
    finally:
        go_on.set()
        first.join(60)
    assert outcomes[0].status == "applied"
    assert (active(database), left(drop)) == (5, [])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"password": None}, "password or private_key is missing"),
        ({"host_key": None}, "known_hosts or host_key"),
    ],
)
def test_a_table_that_would_trust_blindly_is_refused(
    database: Database, tmp_path: Path, server: Server, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        district(database, tmp_path, server.config(**changes))


def test_a_secret_in_clear_is_refused(database: Database, tmp_path: Path, server: Server) -> None:
    with pytest.raises(ConfigError, match="secret in clear") as refused:
        district(database, tmp_path, server.config(password=PASSWORD))
    assert PASSWORD not in refused.value.message
