"""Two SFTP servers on loopback: one in this process that fails on request, and OpenSSH's own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko

PASSWORD = "open sesame 17"


@dataclass
class Server:
    """A server that serves ``folder``, and how to reach it."""

    folder: Path
    port: int
    host_key: str
    username: str
    password: str | None = PASSWORD
    private_key: str | None = None
    cut: Callable[[str], bool] = lambda _step: False
    """In-process server only: asked before each step whether to drop the connection."""

    def config(self, **changes: Any) -> str:
        """Return the ``sftp`` table of a district file that reads this server."""
        values: dict[str, Any] = {
            "host": "127.0.0.1", "port": self.port, "username": self.username,
            "password": "env:SFTP_PASSWORD" if self.private_key is None else None,
            "private_key": f"file:{self.private_key}" if self.private_key else None,
            "host_key": self.host_key, "directory": str(self.folder), "settle_seconds": 0,
            "timeout": 10,
        }  # fmt: skip
        values |= changes
        lines = [
            f"{name} = {value if isinstance(value, int) else repr(value).replace(chr(39), chr(34))}"
            for name, value in values.items()
            if value is not None
        ]
        return "\n".join(["[district.source.config.sftp]", *lines])


# -- in this process


class _Account(paramiko.ServerInterface):
    def check_auth_password(self, username: str, password: str) -> int:
        right = (username, password) == ("springfield", PASSWORD)
        return paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED


class Handle(paramiko.SFTPHandle):
    before: Callable[[str], None]

    def read(self, offset: int, length: int) -> Any:
        self.before("read")
        return super().read(offset, length)

    def write(self, offset: int, data: bytes) -> Any:
        self.before("write")
        return super().write(offset, data)


class Files(paramiko.SFTPServerInterface):
    """Serves real paths of this machine, which are all under the test's own folder."""

    server: Server
    transport: paramiko.Transport
    handle: type[Handle] = Handle

    def _before(self, step: str) -> None:
        if self.server.cut(step):
            self.transport.close()

    def list_folder(self, path: str) -> Any:
        self._before("list")
        try:
            found = []
            for name in sorted(Path(path).iterdir()):
                about = paramiko.SFTPAttributes.from_stat(name.lstat())
                about.filename = name.name
                found.append(about)
            return found
        except OSError as problem:
            return paramiko.SFTPServer.convert_errno(problem.errno or 0)

    def _try(self, step: str, act: Callable[[], Any]) -> Any:
        self._before(step)
        try:
            act()
        except OSError as problem:
            return paramiko.SFTPServer.convert_errno(problem.errno or 0)
        return paramiko.SFTP_OK

    def stat(self, path: str) -> Any:
        self._before("stat")
        try:
            return paramiko.SFTPAttributes.from_stat(Path(path).stat())
        except OSError as problem:
            return paramiko.SFTPServer.convert_errno(problem.errno or 0)

    def lstat(self, path: str) -> Any:
        self._before("stat")
        try:
            return paramiko.SFTPAttributes.from_stat(Path(path).lstat())
        except OSError as problem:
            return paramiko.SFTPServer.convert_errno(problem.errno or 0)

    def open(self, path: str, flags: int, attr: Any) -> Any:
        self._before("open")
        try:
            descriptor = os.open(path, flags, 0o600)
        except OSError as problem:
            return paramiko.SFTPServer.convert_errno(problem.errno or 0)
        handle = self.handle(flags)
        handle.before = self._before
        file = os.fdopen(descriptor, "wb" if flags & os.O_WRONLY else "rb")
        handle.readfile = handle.writefile = file  # type: ignore[attr-defined]
        return handle

    def remove(self, path: str) -> Any:
        return self._try("remove", lambda: Path(path).unlink())

    def rename(self, oldpath: str, newpath: str) -> Any:
        return self._try("move", lambda: Path(oldpath).rename(newpath))

    posix_rename = rename

    def mkdir(self, path: str, attr: Any) -> Any:
        return self._try("mkdir", Path(path).mkdir)


@contextmanager
def in_process(folder: Path, files: type[Files] | None = None) -> Iterator[Server]:
    """Serve a folder from a thread of this process; ``files`` may serve it otherwise."""
    key = paramiko.ECDSAKey.generate()
    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(
        folder, listening.getsockname()[1], f"{key.get_name()} {key.get_base64()}", "springfield"
    )
    transports: list[paramiko.Transport] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(key)
            kind = type(
                "_TheseFiles", (files or Files,), {"server": server, "transport": transport}
            )
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, kind)
            transports.append(transport)
            with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
                transport.start_server(server=_Account())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for transport in transports:
            transport.close()
        thread.join(5)


# -- OpenSSH

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin:" + os.environ.get("PATH", ""))


@contextmanager
def openssh(folder: Path, work: Path) -> Iterator[Server]:
    """Run a real sshd on loopback for this user, with a key to log in by."""
    import getpass

    assert SSHD is not None
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(work / name)], check=True
        )
    (work / "authorized").write_text((work / "user.pub").read_text())
    (work / "authorized").chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (work / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {work / 'host'}\nPidFile none\n"
        f"AuthorizedKeysFile {work / 'authorized'}\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
        "Subsystem sftp internal-sftp\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    log = (work / "sshd.log").open("w")
    process = subprocess.Popen(
        [SSHD, "-D", "-e", "-f", str(work / "sshd_config")],
        stdout=subprocess.DEVNULL, stderr=log,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 15
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, (work / "sshd.log").read_text()
                assert time.monotonic() < deadline, "sshd did not come up"
                time.sleep(0.05)
        host_key = " ".join((work / "host.pub").read_text().split()[:2])
        yield Server(
            folder, port, host_key, getpass.getuser(), None, private_key=str(work / "user")
        )
    finally:
        process.terminate()
        process.wait(10)
        log.close()
