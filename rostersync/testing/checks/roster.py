"""How a normal roster is read: complete, once, and the same each time."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import groupby

from connectors.contract.connector import Certificate, Connector, FetchRequest, Part, Record
from core.errors import SkipRecord
from core.models import Kind, Role
from rostersync.testing import expected
from rostersync.testing.bench import NOT_AS_EXPECTED, Bench, CheckFailed, check, demand
from rostersync.testing.reading import Reading, kind_of, read
from rostersync.testing.scenario import Situation
from sync.reading.order.byte_spans import row_starts


@check()
def pages_end_with_a_certificate(bench: Bench) -> None:
    """``pages()`` ends by returning a Certificate."""
    _, certificate = bench.certified()
    demand(isinstance(certificate, Certificate), "pages() returned something else")


@check()
def a_roster_in_order_is_complete(bench: Bench) -> None:
    """A roster that was read completely is certified complete: only then can somebody leave."""
    bench.certified()


@check()
def nobody_is_lost(bench: Bench) -> None:
    """Every person and every school of the roster is read: no page boundary loses a record."""
    bench.whole()


@check()
def every_field_is_as_expected(bench: Bench) -> None:
    """Each field of each person and school is what the scenario's expected records say."""
    reading = bench.whole()
    file = bench.scenario.expected
    command = f"rostersync connector test {bench.connector.name} --record"
    pytest_run = f"{expected.RECORD_VARIABLE}=1 pytest"
    record = f"write them by {command} (or {pytest_run}), and read them through"
    demand(
        file is not None, f"the scenario has no expected records: give it expected=Path, {record}"
    )
    assert file is not None  # noqa: S101 - demanded
    if not file.is_file():
        demand(os.environ.get(expected.RECORD_VARIABLE) == "1", f"no {file.name} yet: {record}")
        expected.write(file, reading)
    anew = (
        f"write them anew by {command} (or delete {file.name} and run {pytest_run}, which writes"
        " only a file that is missing), and read through what has changed"
    )
    try:
        found = list(expected.differences(file, reading))
    except ValueError as error:
        raise CheckFailed(f"{file.name} holds no expected records ({error}): {anew}") from None
    if found:
        raise bench.once(
            CheckFailed(
                f"not as {file.name} says: {'; '.join(found)}. Correct parse(); if the fixtures"
                f" changed on purpose, {anew}"
            ),
            NOT_AS_EXPECTED,
        )


@check()
def no_record_is_served_twice(bench: Bench) -> None:
    """No user and no school comes twice: in a full fetch, each id occurs once in its stream."""
    reading = bench.roster()
    served = Counter((row.stream, str(row.key)) for row in reading.served)
    twice = Counter(stream for (stream, _), times in served.items() if times > 1)
    demand(not twice, f"ids served more than once, by stream: {dict(twice)}")
    made = Counter((record.kind, record.key) for record in reading.records)
    demand(max(made.values(), default=1) == 1, "two records of one kind have the same key")


@check()
def only_declared_streams_are_served(bench: Bench) -> None:
    """Each page carries a declared stream, and its records are of the kind declared for it."""
    streams, reading = bench.connector.streams, bench.roster()
    unknown = {page.stream for page in reading.pages} - set(streams)
    demand(not unknown, f"undeclared streams were served: {sorted(unknown)}")
    for row in reading.served:
        kind = kind_of(row)
        demand(
            kind is None or kind is streams[row.stream],
            f"the stream {row.stream!r} builds {streams[row.stream]}, but a record says {kind}",
        )


@check()
def schools_are_served_first(bench: Bench) -> None:
    """Streams are served one after the other, each whole, schools before users."""
    reading, streams = bench.roster(), bench.connector.streams
    order = [stream for stream, _ in groupby(page.stream for page in reading.pages)]
    demand(len(order) == len(set(order)), f"a stream is served in pieces: {order}")
    kinds = [streams[stream] for stream in order]
    demand(kinds == sorted(kinds, key=lambda kind: kind is Kind.USER), f"order of kinds: {kinds}")


@check()
def a_page_splits_the_same_each_time(bench: Bench) -> None:
    """``split`` depends on the body alone: equal bodies hold equal records."""
    for page in bench.roster().pages:
        first, second = list(page.split(page.body)), list(page.split(bytes(page.body)))
        demand(first == second, f"a page of {page.stream!r} split differently the second time")
        demand(
            all(isinstance(raw, bytes) and raw.strip() for raw in first),
            f"a page of {page.stream!r} holds a record that is empty or not bytes",
        )


@check()
def identify_agrees_with_parse(bench: Bench) -> None:
    """The id that ``identify`` gives is the key that ``parse`` gives."""
    for row in bench.roster().served:
        said = row.said
        demand(
            isinstance(said, Record | Part) and row.key == said.key,
            f"identify and parse give different keys in {row.stream!r}",
        )


@check()
def parse_is_pure(bench: Bench) -> None:
    """The same bytes give the same result: in any order, any number of times, after the fetch."""
    reading = bench.roster()
    for row in reversed(reading.served):
        for _ in range(2):
            demand(
                reading.connector.parse(row.stream, row.raw) == row.said
                and reading.connector.identify(row.stream, row.raw) == row.key,
                f"a record of {row.stream!r} read differently the second time",
            )


@check()
def equal_gists_parse_alike(bench: Bench) -> None:
    """``parse`` reads nothing that ``gist`` leaves out: changing it changes nobody."""
    reading = bench.roster()
    connector = reading.connector
    for stream, rows in groupby(reading.served, lambda row: row.stream):
        for row in list(rows)[:_GISTS]:
            gist = connector.gist(stream, row.raw)
            for other in _misspelled(row.raw) if gist is not None else ():
                demand(
                    connector.gist(stream, other) != gist
                    or _said(connector, stream, other) == _said(connector, stream, row.raw),
                    f"two records of {stream!r} have the same gist and say different things",
                )


_GISTS = 5
"""How many rows of each stream are tried, letter by letter."""


def _misspelled(raw: bytes) -> Iterator[bytes]:
    """Yield a record with each of its letters and digits replaced by another, one at a time."""
    for at, letter in enumerate(raw):
        if chr(letter).isascii() and chr(letter).isalnum():
            other = b"7" if chr(letter).isdigit() and letter != ord("7") else b"q"
            yield raw[:at] + other + raw[at + 1 :]


def _said(connector: Connector, stream: str, raw: bytes) -> object:
    try:
        said = connector.parse(stream, raw)
    except SkipRecord as skip:
        return skip.rule, skip.column
    return replace(said, extra=())


@check()
def a_page_without_some_rows_is_one_of_the_others(bench: Bench) -> None:
    """Cutting whole rows out of a body leaves the other rows unchanged.

    So the engine need not split what it knows. Bodies that do not contain their rows byte for byte
    are split as a whole, and are exempt.
    """
    for page in bench.roster().pages:
        rows = list(page.split(page.body))
        starts = row_starts(page.body, rows)
        if starts is None:
            continue
        for first, last in ((0, 1), (1, 2), (0, len(rows) - 1), (len(rows) // 2, len(rows) - 1)):
            if 0 <= first < last < len(rows):
                body = page.body[: starts[first]] + page.body[starts[last] :]
                demand(
                    list(page.split(body)) == rows[:first] + rows[last:],
                    f"a page of {page.stream!r} without some of its rows is split otherwise",
                )


@check()
def two_readings_are_byte_identical(bench: Bench) -> None:
    """Stable fingerprints: an unchanged roster gives the same bytes in the next fetch."""
    with bench.open() as (_, setting):
        once, again = (
            read(bench.connect(setting), FetchRequest(directory=setting.directory))
            for _ in range(2)
        )
    first = Counter((row.stream, row.raw) for row in once.served)
    second = Counter((row.stream, row.raw) for row in again.served)
    changed = Counter(stream for stream, _ in (first - second) + (second - first))
    demand(not changed, f"bytes differ between two readings, by stream: {dict(changed)}")
    demand(_contexts(once) == _contexts(again), "the context differs between two readings")
    demand(once.users == again.users, "people differ between two readings")


def _contexts(reading: Reading) -> set[tuple[str, bytes]]:
    return {(page.stream, page.context) for page in reading.pages}


@check()
def a_record_is_a_user_or_a_school(bench: Bench) -> None:
    """A record is one user or one school, whose external id is the record's key."""
    for record in bench.roster().records:
        entries = [entry for entry in (record.user, record.school) if entry is not None]
        demand(len(entries) == 1 or record.deleted, "a record is neither one user nor one school")
        for entry in entries:
            demand(entry.external_id == record.key, "a record's key is not its external id")
        demand(
            (record.user is None or record.kind is Kind.USER)
            and (record.school is None or record.kind is Kind.SCHOOL),
            "a record's kind is not what it holds",
        )


@check()
def memberships_point_at_served_schools(bench: Bench) -> None:
    """A student's school is named by the id under which it is served; one at most is primary.

    Others may belong to the district itself, which no list of schools has to hold.
    """
    reading = bench.people()
    schools = {school.external_id for school in reading.schools}
    for user in reading.users:
        named = {
            member.school
            for member in user.memberships
            if member.role is Role.STUDENT and member.school is not None
        }
        demand(named <= schools, "a student's school is not served under that id")
        primary = [member for member in user.memberships if member.primary]
        demand(len(primary) <= 1, "a person has two primary schools")
    demand(any(user.memberships for user in reading.users), "nobody has a role")


@check()
def a_student_without_email_is_read(bench: Bench) -> None:
    """Email is optional: students without one are read like all others."""
    demand(
        any(
            user.email is None and any(member.role is Role.STUDENT for member in user.memberships)
            for user in bench.whole().users
        ),
        "no student without email came out (the scenario's roster must have one)",
    )


@check()
def names_keep_their_letters(bench: Bench) -> None:
    """Names in any script come out exactly as they went in."""
    names = [
        name
        for user in bench.roster().users
        for name in (user.given_name, user.family_name)
        if name and not name.isascii()
    ]
    demand(names, "no name beyond ASCII came out (the scenario's roster must have one)")
    # U+FFFD is a letter that was lost; these pairs are UTF-8 read as Latin-1.
    broken = [name for name in names if any(sign in name for sign in ("\ufffd", "Ã", "Â", "â€"))]
    demand(not broken, "a name beyond ASCII came out garbled")


@check()
def every_record_can_be_shown_as_fields(bench: Bench) -> None:
    """``fields`` gives each raw record as a mapping with text keys, for mapping rules."""
    reading = bench.roster()
    for row in reading.served:
        fields = reading.connector.fields(row.stream, row.raw)
        demand(
            isinstance(fields, Mapping) and fields and all(isinstance(key, str) for key in fields),
            f"fields() gives no mapping for a record of {row.stream!r}",
        )


@check()
def declared_totals_are_true(bench: Bench) -> None:
    """A total that the certificate declares is the number of records served."""
    reading = bench.roster()
    served = Counter(row.stream for row in reading.served)
    declared = reading.certificate.declared if reading.certificate else {}
    wrong = {stream: total for stream, total in declared.items() if served[stream] != total}
    demand(not wrong, f"declared {wrong}, served {dict(served)}")


@check()
def vendor_times_know_their_zone(bench: Bench) -> None:
    """The date of the vendor's data, if it is told, is aware and in UTC."""
    certificate = bench.roster().certificate
    when = certificate.vendor_time if certificate else None
    demand(when is None or when.utcoffset() == timedelta(0), "vendor_time is not in UTC")


@check()
def an_empty_roster_is_served_as_empty(bench: Bench) -> None:
    """A vendor without people gives an empty reading, not an error; the engine judges it."""
    reading = bench.read(Situation.EMPTY)
    demand(not reading.users, "people came out of an empty roster")
    demand(
        reading.error is None or reading.error.status == "incomplete",
        f"an empty roster is an error: {reading.error}",
    )


@check()
def close_may_be_called_twice(bench: Bench) -> None:
    """``close()`` may be called at any time, before the first page and again, without errors."""
    bench.certified()
    with bench.open() as (connector, setting):
        connector.close()
        connector.close()
        after = read(bench.connect(setting), FetchRequest(directory=setting.directory))
        after.connector.close()
    demand(after.complete, "closing one connector broke the next one's reading")


@check()
def a_reading_may_be_dropped(bench: Bench) -> None:
    """A caller may stop after the first page; the next reading starts from the beginning."""
    bench.whole()
    with bench.open() as (connector, setting):
        pages = connector.pages(FetchRequest(directory=setting.directory))
        next(pages)
        pages.close()
        again = read(bench.connect(setting), FetchRequest(directory=setting.directory))
    demand(len(again.users) == bench.scenario.people, "the next reading was not whole")
