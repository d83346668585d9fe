"""A request with an end: every wait for the vendor's bytes is cut to what is left of its time.

Used by ``connectors/http/verbatim.py``. A socket's own time-out begins anew with each byte, so that
a server which sends a byte a second would be listened to for days.
"""

from __future__ import annotations

import io
import socket
import time
from http.client import HTTPResponse
from typing import Any


class TimedReader(io.RawIOBase):
    """The bytes of a socket, until ``deadline`` (by ``time.monotonic``); then ``TimeoutError``."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        # The file of the socket keeps the connection open until the answer has been read.
        self._file = connection.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what is there, or wait for it as long as there is time."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time of this request is over")
        usual = self._connection.gettimeout()
        self._connection.settimeout(left if usual is None else min(usual, left))
        try:
            return self._file.readinto(buffer)
        finally:
            self._connection.settimeout(usual)

    def close(self) -> None:
        """Let go of the socket."""
        self._file.close()
        super().close()


class TimedResponse(HTTPResponse):
    """An answer of which the first line, the headers and the body are read by a ``TimedReader``."""

    def __init__(self, sock: socket.socket, *args: Any, deadline: float, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp.close()
        self.fp = io.BufferedReader(TimedReader(sock, deadline))
