"""Seeded mutations of a small corpus: a reader answers or refuses, and never breaks.

``corpus/KIND`` holds what is changed; a file that once broke a reader is added there. The quick run
tries a few changes of each file, ``make test-long`` thousands. A failure prints the bytes.
"""

from __future__ import annotations

import io
import os
import random
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from connectors.clever_csv import CleverCsv, CleverCsvConfig
from connectors.contract.connector import Connector, FetchRequest
from connectors.contract.json_records import UNREADABLE, read_time, split_array
from connectors.contract.urls import joined, parse_links, query_of, safe_url, with_query
from connectors.files.inspection import inspect
from connectors.files.recognition import recognise
from connectors.finra_flex import FinraFlex, FinraFlexConfig
from connectors.http.client import Answer, http_date
from connectors.http.vendor_codes import vendor_codes
from connectors.installed import file_formats, load
from connectors.oneroster_csv import OneRosterCsv, OneRosterCsvConfig
from connectors.user_csv import UserCsv, UserCsvConfig
from core.district_file import read_district_file
from core.errors import RosterSyncError, SkipRecord
from sync.sources.soundness import sound_parsed
from tests.attack.hostile import CONNECTORS, Hostile
from tests.kit.sizes import LONG

CORPUS = Path(__file__).with_name("corpus")
KINDS = ("csv", "zip", "workbook", "json", "toml", "headers")
TIMES = {"zip": 12, "workbook": 20}
"""Changes of each file in the quick run; 30 where nothing stands here."""
SEED = os.environ.get("FUZZ_SEED", "17")

TOKENS = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\n", b'"', b'""', b",", b";",
    b"\\", b"[" * 300, b"{" * 300, b"]", b"}", b"null", b"1e999", b"-0", b"9" * 400, b"9999-12-31",
    b"0001-01-01", b"+9999", b"<", b">", b'rel="next"', b"%", b"%ff", b"http://[", b"=", b"'",
    b"\x1b[", b"\xe2\x80\xae", b"<!DOCTYPE x>", b"<!ENTITY", b"&#x0;", b"../", b" " * 100, b"nan",
    b"true", b"''' ",
)  # fmt: skip


def changed(content: bytes, other: bytes, chance: random.Random) -> bytes:
    """Return bytes with a few changes: flipped, cut, doubled, joined with another file's."""
    found = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(found) + 1)
        end = min(len(found), at + chance.choice((1, 2, 8, 64, 512)))
        match chance.randrange(6):
            case 0 if at < len(found):
                found[at] = chance.randrange(256)
            case 1:
                del found[at:end]
            case 2:
                found[at:at] = found[at:end] * chance.choice((1, 2, 30))
            case 3:
                found[at:end] = chance.choice(TOKENS)
            case 4:
                start = chance.randrange(len(other) + 1)
                found[at:at] = other[start : start + chance.choice((4, 64, 512))]
            case _:
                found[at:at] = chance.choice(TOKENS)
    return bytes(found[: 1 << 20])


def repacked(content: bytes, chance: random.Random) -> bytes:
    """Return an archive one of whose files is changed inside, or the archive itself changed."""
    if chance.random() < 0.4:
        return changed(content, content, chance)
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    spoilt = chance.choice(sorted(members))
    members[spoilt] = changed(members[spoilt], chance.choice(list(members.values())), chance)
    if chance.random() < 0.1:
        members[chance.choice(("../x.csv", "x" * 300, "a\nb.csv", "/x", "x.csv"))] = b"a,b\n1,2\n"
    packed_again = io.BytesIO()
    with zipfile.ZipFile(packed_again, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, inside in members.items():
            packed.writestr(name, inside)
    return packed_again.getvalue()


def mutations(kind: str) -> Iterator[bytes]:
    """Yield the files of a kind as they are, and then changed."""
    corpus = [path.read_bytes() for path in sorted((CORPUS / kind).iterdir())]
    yield from corpus
    for number, content in enumerate(corpus):
        chance = random.Random(f"{SEED}-{kind}-{number}")
        for _ in range(2_000 if LONG else TIMES.get(kind, 30)):
            if kind in ("zip", "workbook"):
                yield repacked(content, chance)
            else:
                yield changed(content, chance.choice(corpus), chance)


# ---------------------------------------------------------------------------- who reads it

Reader = Callable[[bytes], None]
FORMATS = file_formats()


def as_file(path: Path) -> Reader:
    """Read a file as every format; what is wrong with it must be an answer."""

    def read(content: bytes) -> None:
        path.write_bytes(content)
        recognise(path, FORMATS)
        for connector in (
            UserCsv(UserCsvConfig()), FinraFlex(FinraFlexConfig()),
            OneRosterCsv(OneRosterCsvConfig()), CleverCsv(CleverCsvConfig()),
        ):  # fmt: skip
            try:
                report = inspect(connector, FetchRequest(file=str(path)))
            finally:
                connector.close()
            assert report.error is None or (report.error.message and report.error.exit_code != 1)

    return read


def as_json(stack: ExitStack) -> Reader:
    """Read bytes as a page and as a record of every vendor."""
    connectors: list[Connector] = []
    for dialect in ("clever", "classlink", "gg4l", "oneroster"):
        vendor = stack.enter_context(Hostile(dialect))
        kind = load(CONNECTORS[dialect])
        connectors.append(kind(kind.config_model.model_validate(vendor.config())))
        stack.callback(connectors[-1].close)

    def read(content: bytes) -> None:
        rows = [content]
        with suppress(*UNREADABLE):  # the envelope is decoded before its records are
            rows += split_array(content)[:20]
        for connector in connectors:
            for stream in connector.streams:
                for raw in rows:
                    with suppress(SkipRecord, ValidationError):
                        assert connector.identify(stream, raw)
                    with suppress(SkipRecord, ValidationError):
                        sound_parsed(connector.parse(stream, raw))
                    connector.gist(stream, raw)

    return read


def as_toml(path: Path) -> Reader:
    """Read bytes as a district file."""

    def read(content: bytes) -> None:
        path.write_bytes(content)
        with suppress(RosterSyncError):
            read_district_file(path)

    return read


NAMES = ("Link", "Retry-After", "Date", "X-Total-Count", "X-RateLimit-Reset", "WWW-Authenticate")


def as_headers(content: bytes) -> None:
    """Read bytes as the value of each header that we look at."""
    for line in content.decode("latin-1").splitlines():
        http_date(line)
        read_time(line)
        for target in parse_links(line).values():
            with suppress(ValueError):  # what no address is, is told by that
                safe_url(joined("https://vendor.example/users", target))
                with_query(target, {"limit": 1})
                query_of(target)
        headers = dict.fromkeys(NAMES, line)
        vendor_codes(content, headers)
        Answer.number(SimpleNamespace(headers=headers), "X-Total-Count")  # type: ignore[arg-type]


@pytest.fixture
def readers(tmp_path: Path) -> Iterator[dict[str, Reader]]:
    """Return who reads each kind."""
    with ExitStack() as stack:
        yield {
            "csv": as_file(tmp_path / "fuzzed.csv"),
            "zip": as_file(tmp_path / "fuzzed.zip"),
            "workbook": as_file(tmp_path / "fuzzed.xlsx"),
            "json": as_json(stack),
            "toml": as_toml(tmp_path / "fuzzed.toml"),
            "headers": as_headers,
        }


@pytest.mark.parametrize("kind", KINDS)
def test_no_bytes_are_a_bug(readers: dict[str, Reader], kind: str, tmp_path: Path) -> None:
    tried = 0
    for content in mutations(kind):
        try:
            readers[kind](content)
        except BaseException:
            (tmp_path / "broke").write_bytes(content)
            print(f"these bytes broke it: {content[:3_000]!r}")
            raise
        tried += 1
    assert tried > len(list((CORPUS / kind).iterdir()))
