"""A small HTTP/1.1 server: keep-alive, one thread for each connection, raw paths, raw faults.

It is much faster than a roster client, so that a benchmark over it measures the client: a stored
body goes from a file to the socket inside the kernel.
"""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import struct
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import BinaryIO, cast
from urllib.parse import parse_qsl

_LINE = 65_536
_BODY = 1 << 20


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came over the wire. ``path`` and ``query`` are not unescaped."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""

    def params(self) -> dict[str, str]:
        """Return the query parameters, unescaped; of repeated ones the last."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    def below(self, prefix: str) -> Request:
        """Return the same request as a server mounted at ``prefix`` sees it."""
        return Request(
            self.method, self.path[len(prefix) :] or "/", self.query, self.headers, self.body
        )


class Stored:
    """A body that stands in the spool file."""

    __slots__ = ("length", "offset", "spool")

    def __init__(self, spool: Spool, offset: int, length: int) -> None:
        self.spool = spool
        self.offset = offset
        self.length = length

    def __len__(self) -> int:
        return self.length

    def read(self) -> bytes:
        """Return the bytes."""
        return os.pread(self.spool.fileno, self.length, self.offset)


class Spool:
    """Bodies made once and sent often, in an unnamed temporary file: any size, flat memory.

    ``in_memory`` keeps them in memory where the system can (Linux): what stands in a file may leave
    the cache between two readings, and is then served at the speed of the disk.
    """

    def __init__(self, *, in_memory: bool = False) -> None:
        self._file = _unnamed(in_memory=in_memory)
        self._end = 0
        self._lock = threading.Lock()
        self.fileno = self._file.fileno()

    def put(self, body: bytes) -> Stored:
        """Keep a body."""
        with self._lock:
            offset, self._end = self._end, self._end + len(body)
        view = memoryview(body)
        at = offset
        while view:
            sent = os.pwrite(self.fileno, view, at)
            view, at = view[sent:], at + sent
        return Stored(self, offset, len(body))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _unnamed(*, in_memory: bool) -> BinaryIO:
    if in_memory and hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("spool"), "w+b")
    return cast("BinaryIO", tempfile.TemporaryFile())


@dataclass(slots=True)
class Reply:
    """One answer. ``stream`` and ``page`` (from 1) say which page of a roster it is, if any."""

    status: int = 200
    body: bytes | Stored = b""
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "application/json"
    stream: str = ""
    page: int = 0
    limit: int = 0
    cut: int | None = None
    """Send only so many bytes of the body, then reset the connection."""
    hang: float = 0.0
    """Say nothing for so many seconds, then hang up."""


class WireServer(socketserver.ThreadingTCPServer):
    """Serves ``answer(request)`` on one address until closed."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], answer: Callable[[Request], Reply]) -> None:
        self.answer = answer
        self.skew = 0.0
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Connection)

    def start(self) -> None:
        """Serve in a thread of its own."""
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Close all connections and stop."""
        self.stopping.set()
        self.shutdown()
        self._thread.join(5)
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def opened(self, connection: socket.socket) -> None:
        """Remember a connection, to be able to close it."""
        with self._lock:
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        """Forget a connection."""
        with self._lock:
            self._open.discard(connection)


class _Connection(socketserver.StreamRequestHandler):
    rbufsize = _LINE
    wbufsize = 0
    disable_nagle_algorithm = True
    server: WireServer
    connection: socket.socket

    def handle(self) -> None:
        self.server.opened(self.connection)
        try:
            while self._one():
                pass
        except (OSError, ValueError):
            return  # the client went away, or does not speak HTTP
        finally:
            self.server.closed(self.connection)

    def _one(self) -> bool:
        line = self.rfile.readline(_LINE)
        if line in (b"\r\n", b"\n"):
            line = self.rfile.readline(_LINE)
        if not line:
            return False
        method, target, _version = line.decode("latin-1").split(None, 2)
        headers: dict[str, str] = {}
        while (line := self.rfile.readline(_LINE)) not in (b"\r\n", b"\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        length = int(headers.get("content-length") or 0)
        if not 0 <= length <= _BODY:
            return False
        body = self.rfile.read(length) if length else b""
        path, _, query = target.partition("?")
        reply = self.server.answer(Request(method, path, query, headers, body))
        if reply.hang:
            self.server.stopping.wait(reply.hang)
            return False
        keep = headers.get("connection", "").lower() != "close"
        return self._send(reply, keep=keep, bare=method == "HEAD") and keep

    def _send(self, reply: Reply, *, keep: bool, bare: bool) -> bool:
        length = len(reply.body)
        now = formatdate(_now() + self.server.skew, usegmt=True)
        head = [f"HTTP/1.1 {reply.status} {_phrase(reply.status)}", f"Date: {now}"]
        if length or reply.kind:
            head.append(f"Content-Type: {reply.kind}")
        head.append(f"Content-Length: {length}")
        head += [f"{name}: {value}" for name, value in reply.headers.items()]
        if not keep:
            head.append("Connection: close")
        start = ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")
        if reply.cut is not None:
            return self._send_part(reply, start, reply.cut)
        if bare or not length:
            self.connection.sendall(start)
        elif isinstance(reply.body, Stored):
            self.connection.sendall(start, socket.MSG_MORE if hasattr(socket, "MSG_MORE") else 0)
            self._send_file(reply.body)
        elif length < 65_536:
            self.connection.sendall(start + reply.body)
        else:
            self.connection.sendall(start)
            self.connection.sendall(reply.body)
        return True

    def _send_file(self, body: Stored) -> None:
        offset, left = body.offset, body.length
        while left:
            sent = os.sendfile(self.connection.fileno(), body.spool.fileno, offset, left)
            if not sent:
                raise OSError("the spool ended early")
            offset, left = offset + sent, left - sent

    def _send_part(self, reply: Reply, start: bytes, cut: int) -> bool:
        body = reply.body.read() if isinstance(reply.body, Stored) else reply.body
        if cut >= 0:
            self.connection.sendall(start + body[:cut])
        # Linger zero: the kernel sends a reset instead of a polite end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        return False


def _now() -> float:
    import time

    return time.time()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
