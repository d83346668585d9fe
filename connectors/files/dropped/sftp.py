"""A directory on an SFTP server, as a place that any file connector reads from.

Docs: https://docs.paramiko.org/ (the client), draft-ietf-secsh-filexfer-02 (SFTP version 3). The
server's host key is always checked: either it is given, or it stands in a known_hosts file.
"""

from __future__ import annotations

import io
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from connectors.files.dropped.inbox import MAX_ENTRIES, OURS, Entry, is_a_link, plain_name
from core.errors import ConfigError, CredentialsRefused, VendorFailure

if TYPE_CHECKING:
    import paramiko

_CHUNK = 1 << 18

# ------------------------------------------------------------------------------------ config


class SftpConfig(BaseModel):
    """The ``sftp`` table of a file connector's config."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    host: str = Field(min_length=1, description="Name or address of the server.")
    port: int = Field(default=22, ge=1, le=65535, description="Its port.")
    username: str = Field(min_length=1, description="The account's name.")
    password: SecretStr | None = Field(default=None, description="The account's password.")
    private_key: SecretStr | None = Field(
        default=None, description="The account's private key, as OpenSSH or PEM text."
    )
    passphrase: SecretStr | None = Field(
        default=None, description="What opens the private key, if it is locked."
    )
    known_hosts: str | None = Field(
        default=None, description="A known_hosts file that holds the server's key."
    )
    host_key: str | None = Field(
        default=None,
        description='The server\'s public key, as "ssh-ed25519 AAAA…" (ssh-keyscan prints it).',
    )
    directory: str = Field(default=".", description="The directory on the server.")
    ready_marker: str | None = Field(
        default=None, description="A file whose presence says that the set is all there."
    )
    settle_seconds: float = Field(
        default=5.0,
        ge=0,
        le=3600,
        description="Without a marker: how long nothing may change before a set is picked up.",
    )
    timeout: float = Field(default=30.0, gt=0, le=600, description="Seconds to wait for an answer.")

    @model_validator(mode="after")
    def _proves_both_sides(self) -> Self:
        if self.password is None and self.private_key is None:
            raise ValueError("password or private_key is missing")
        if (self.known_hosts is None) == (self.host_key is None):
            raise ValueError(
                "give known_hosts or host_key: the server's key is always checked"
                " (ssh-keyscan HOST prints it; compare it with what the server's owner says)"
            )
        return self


# --------------------------------------------------------------------------------- the class


class SftpInbox:
    """A directory on an SFTP server as an ``Inbox``. It connects when it is first asked."""

    def __init__(self, config: SftpConfig, directory: str = ".") -> None:
        """Take the config; relative paths in it start at ``directory``."""
        self.config = config
        self.where = f"The directory {config.directory} on {config.host}"
        self._start = directory
        self._client: paramiko.SSHClient | None = None
        self._sftp: paramiko.SFTPClient | None = None

    def listing(self, folder: str = "") -> list[Entry]:
        """Return the plain files; links are left out, wherever they lead."""
        with self._telling("list") as sftp:
            entries = []
            try:
                for about in self._looked_at(sftp, folder):
                    if not folder and about.filename in OURS and not _is_a_folder(about):
                        raise is_a_link(self.where, about.filename)
                    if plain_name(about.filename) and stat.S_ISREG(about.st_mode or 0):
                        entries.append(_entry(about))
            except FileNotFoundError:
                raise ConfigError(
                    f"{self.where} does not exist.", hint="Check directory in the sftp table."
                ) from None
        return sorted(entries, key=lambda entry: entry.name)

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders in one of our folders; none if it is missing."""
        with self._telling("list") as sftp:
            try:
                found = list(self._looked_at(sftp, folder))
            except FileNotFoundError:
                return []
            return sorted(about.filename for about in found if _is_a_folder(about))

    def _looked_at(self, sftp: paramiko.SFTPClient, folder: str) -> Iterator[Any]:
        for number, about in enumerate(sftp.listdir_iter(self._path(folder))):
            if number >= MAX_ENTRIES:
                raise ConfigError(f"{self.where} holds more than {MAX_ENTRIES:,} entries.")
            yield about

    def copy(self, entry: Entry, to: Path) -> None:
        """Copy a file, and at most one byte more than it should have."""
        with self._telling("read from") as sftp, self._plain(sftp, entry.name) as stream:
            stream.prefetch(entry.size)
            left = entry.size + 1
            with to.open("wb") as copy:
                while left and (chunk := stream.read(min(_CHUNK, left))):
                    copy.write(chunk)
                    left -= len(chunk)

    def read(self, name: str) -> bytes | None:
        """Return a small file, or None; links are never followed."""
        with self._telling("read from") as sftp:
            try:
                with self._plain(sftp, name) as stream:
                    return bytes(stream.read(1 << 20))
            except (FileNotFoundError, _NoFileError):
                return None

    @contextmanager
    def _plain(self, sftp: paramiko.SFTPClient, name: str) -> Iterator[paramiko.SFTPFile]:
        """Open a file that stands there itself, before and after it was opened, and is no link."""
        self._refuse_no_file(sftp, name)
        with sftp.open(self._path(name), "rb") as stream:
            self._refuse_no_file(sftp, name)
            yield stream

    def _refuse_no_file(self, sftp: paramiko.SFTPClient, name: str) -> None:
        if not stat.S_ISREG(sftp.lstat(self._path(name)).st_mode or 0):
            raise _NoFileError("it is no plain file")

    def write(self, name: str, content: bytes) -> None:
        """Write a small file whole, under a random name first that nobody can have taken."""
        folder, slash, _ = name.rpartition("/")
        beside = f"{folder}{slash}.rostersync-{secrets.token_hex(8)}.tmp"
        with self._telling("write to") as sftp:
            with sftp.open(self._path(beside), "wx") as stream:  # x: it must not be there
                stream.write(content)
            self._rename(sftp, beside, name)

    def make(self, folder: str) -> None:
        """Make a folder, and those above it."""
        with self._telling("write to") as sftp:
            path = ""
            for step in folder.split("/"):
                path = f"{path}/{step}" if path else step
                try:
                    about = sftp.lstat(self._path(path))
                except FileNotFoundError:
                    sftp.mkdir(self._path(path))
                    continue
                if not _is_a_folder(about):
                    raise is_a_link(self.where, step)

    def move(self, name: str, to: str) -> None:
        """Move a file."""
        with self._telling("write to") as sftp:
            try:
                about = sftp.lstat(self._path(name))
            except FileNotFoundError:
                return
            if stat.S_ISREG(about.st_mode or 0):
                self._rename(sftp, name, to)

    def remove(self, name: str) -> None:
        """Remove a file."""
        with self._telling("write to") as sftp:
            try:
                sftp.remove(self._path(name))
            except FileNotFoundError:
                return

    def close(self) -> None:
        """End the connection."""
        if self._sftp is not None:
            self._sftp.close()
        if self._client is not None:
            self._client.close()
        self._sftp = self._client = None

    # -- inside

    def _path(self, name: str) -> str:
        return f"{self.config.directory.rstrip('/') or '/'}/{name}".replace("//", "/")

    def _rename(self, sftp: paramiko.SFTPClient, name: str, to: str) -> None:
        try:
            sftp.posix_rename(self._path(name), self._path(to))
        except FileNotFoundError:
            raise
        except OSError:  # a server without the extension: plain rename does not replace
            with suppress(FileNotFoundError):
                sftp.remove(self._path(to))
            sftp.rename(self._path(name), self._path(to))

    @contextmanager
    def _telling(self, to_do: str) -> Iterator[paramiko.SFTPClient]:
        """Yield the connection; whatever breaks it becomes a sentence without a secret."""
        import paramiko

        try:
            yield self._connected()
        except (EOFError, OSError, paramiko.SSHException) as problem:
            self.close()
            reason = getattr(problem, "strerror", None) or type(problem).__name__
            raise VendorFailure(
                f"{self.config.host}: it was not possible to {to_do} {self.config.directory}"
                f" ({reason}).",
                hint="Nobody left because of it; it is tried again at the next run.",
            ) from None

    def _connected(self) -> paramiko.SFTPClient:
        if self._sftp is not None:
            return self._sftp
        import paramiko

        config = self.config
        client = self._client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        self._expect_host_key(client)
        try:
            client.connect(
                config.host,
                config.port,
                config.username,
                password=None if config.password is None else config.password.get_secret_value(),
                pkey=self._private_key(),
                allow_agent=False,
                look_for_keys=False,
                timeout=config.timeout,
                banner_timeout=config.timeout,
                auth_timeout=config.timeout,
            )
        except paramiko.BadHostKeyException:
            raise self._wrong_host("shows another host key than the one that is known") from None
        except paramiko.AuthenticationException:
            raise CredentialsRefused(
                f"{config.host} refused the account {config.username}.",
                hint="Check username and password or private_key with the server's owner.",
            ) from None
        except paramiko.SSHException as problem:
            if "not found in known_hosts" in str(problem):
                raise self._wrong_host("shows a host key that is not known") from None
            raise
        sftp = client.open_sftp()
        channel = sftp.get_channel()
        if channel is not None:
            channel.settimeout(config.timeout)
        self._sftp = sftp
        return sftp

    def _wrong_host(self, what: str) -> ConfigError:
        return ConfigError(
            f"{self.config.host} {what}: nothing was sent to it.",
            hint="Ask the server's owner for its host key (another way than this connection) and"
            " correct known_hosts or host_key.",
        )

    def _expect_host_key(self, client: paramiko.SSHClient) -> None:
        import paramiko

        config = self.config
        if config.known_hosts is not None:
            path = Path(self._start, config.known_hosts).expanduser()
            try:
                client.load_host_keys(str(path))
            except (OSError, paramiko.SSHException):
                raise ConfigError(
                    f"The known_hosts file {path.name} cannot be read.",
                    hint="Check known_hosts; a relative path starts at the district file.",
                ) from None
            return
        name = config.host if config.port == 22 else f"[{config.host}]:{config.port}"
        words = (config.host_key or "").split()
        try:
            line = paramiko.hostkeys.HostKeyEntry.from_line(" ".join([name, *words[:2]]))
        except (paramiko.SSHException, ValueError):
            line = None
        if len(words) < 2 or line is None or line.key is None:
            raise ConfigError(
                "host_key is no public key.",
                hint='Give it as "ssh-ed25519 AAAA…"; ssh-keyscan HOST prints it after the name.',
            )
        client.get_host_keys().add(name, line.key.get_name(), line.key)

    def _private_key(self) -> Any:
        import paramiko

        config = self.config
        if config.private_key is None:
            return None
        phrase = None if config.passphrase is None else config.passphrase.get_secret_value()
        text = config.private_key.get_secret_value() + "\n"
        for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
            try:
                return kind.from_private_key(io.StringIO(text), phrase)
            except (paramiko.SSHException, ValueError, IndexError, UnicodeError):
                continue
        raise ConfigError(
            "private_key is no private key that can be read.",
            hint="Give a file: reference to an OpenSSH or PEM key, and passphrase if it is locked.",
        )


class _NoFileError(OSError):
    """What is called like a file is a link, a folder or a device."""


def _entry(about: Any) -> Entry:
    return Entry(about.filename, about.st_size or 0, float(about.st_mtime or 0))


def _is_a_folder(about: Any) -> bool:
    return stat.S_ISDIR(about.st_mode or 0)
