"""Every way in which a server may misbehave, at every connector over HTTP (F8, F18).

Whatever it serves is its source's failure at most: the other source of the district goes on, nobody
leaves, nothing is told of what stood in its errors, and once it has come to its senses all is well.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest

from sync.sources.check import check_district
from tests.attack.conftest import Attack, Attacked
from tests.attack.hostile import DIALECTS, Answer, Asked, quickly
from tests.kit.sizes import LONG
from tests.kit.world import SLUG

Spoil = Callable[[Asked, Answer], Answer | None]
NAME = "Liam Carter"
SCOPE = {
    "oneroster": "https://purl.imsglobal.org/spec/or/v1p1/scope/roster-core.readonly",
    "oneroster12": "https://purl.imsglobal.org/spec/or/v1p2/scope/roster-core.readonly",
}


def of_users(spoil: Callable[[Answer], Answer | None]) -> Spoil:
    """Spoil the second page of users."""
    return lambda asked, answer: (
        spoil(answer) if asked.what == "users" and asked.page == 2 else answer
    )


def header(name: str, value: str) -> Spoil:
    return of_users(lambda answer: answer.add(name, value))


def instead(body: bytes, status: int = 200) -> Spoil:
    return of_users(lambda answer: Answer(status, body))


def replaced(old: bytes, new: bytes) -> Spoil:
    """Change the bytes of a page: of ``p00012``, who stands on the second one."""

    def change(answer: Answer) -> Answer:
        assert old in answer.body, answer.body[:300]
        return Answer(answer.status, answer.body.replace(old, new), answer.headers)

    return of_users(change)


DEEP = b"[" * 100_000 + b"]" * 100_000
HARMLESS: dict[str, Spoil] = {
    "remaining_400_digits": header("X-RateLimit-Remaining", "0" * 400),
    "reset_400_digits": lambda asked, answer: answer.add("X-RateLimit-Remaining", "0").add(
        "X-RateLimit-Reset", "9" * 400
    ),
    "reset_below_nothing": lambda asked, answer: answer.add("X-RateLimit-Remaining", "0").add(
        "X-RateLimit-Reset", "-5"
    ),
    "date_out_of_the_calendar": lambda asked, answer: answer.add(
        "Date", "Mon, 01 Jan 99999 00:00:00 GMT"
    ),
    "date_with_a_zone_beyond_all": lambda asked, answer: answer.add(
        "Date", "Mon, 01 Jan 0001 00:00:00 +9999"
    ),
    "link_is_no_address": header("Link", '<http://[bad>; rel="next"'),
    "link_has_no_end": header("Link", "<" * 5_000),
}
"""What does not touch the roster itself."""

HARMFUL: dict[str, Spoil] = {
    "not_utf8": replaced(b"p00012@", b"\xff\xfe@"),
    "a_record_nested_deep": replaced(b'"Of 12"', DEEP),
    "an_envelope_nested_deep": instead(DEEP),
    "an_unknown_field_nested_deep": replaced(b'"Of 12"', b'"Of 12", "more": ' + DEEP),
    "an_id_of_5000_digits": replaced(b'"p00012",', b"9" * 5_000 + b","),
    "an_id_without_a_value": replaced(b'"p00012",', b"1e999,"),
    "no_id_and_not_utf8": replaced(b'"p00012",', b'null, "x\xff": "\xfe",'),
    "a_field_that_is_not_utf8": replaced(b'"p00012",', b'"p00012", "x\xff": 1,'),
    "null": instead(b"null"),
    "a_number": instead(b"5"),
    "a_text": instead(b'"users"'),
    "a_list": instead(b"[]"),
    "an_empty_answer": instead(b""),
    "half_a_document": of_users(
        lambda answer: Answer(200, answer.body[: len(answer.body) // 2], answer.headers)
    ),
    "users_is_null": instead(b'{"users": null, "data": null}'),
    "users_is_an_object": instead(b'{"users": {}, "data": {}}'),
    "records_are_numbers": instead(b'{"users": [1, 2], "data": [1, 2]}'),
    "records_are_null": instead(b'{"users": [null], "data": [null]}'),
    "a_sign_in_page": instead(b"<!doctype html><html>Sign in</html>"),
    "an_error_of_500": instead(json.dumps({"message": NAME}).encode(), 500),
    "an_error_of_400": instead(json.dumps({"error": {"message": NAME}}).encode(), 400),
    "an_error_of_404": instead(json.dumps({"error_description": NAME}).encode(), 404),
    "an_error_that_is_deep": instead(DEEP, 400),
    "a_status_of_999": instead(b"{}", 999),
    "a_status_of_100": instead(b"{}", 204),
    "a_redirect_to_no_address": of_users(lambda answer: Answer(302).add("Location", "http://[b")),
    "a_redirect_in_a_circle": of_users(lambda answer: Answer(302).add("Location", "?limit=1")),
    "a_redirect_elsewhere": of_users(
        lambda answer: Answer(302).add("Location", "https://elsewhere.example/users")
    ),
    "asks_to_wait_400_digits": of_users(lambda answer: Answer(429).add("Retry-After", "9" * 400)),
    "asks_to_wait_5000_digits": of_users(
        lambda answer: Answer(429).add("Retry-After", "9" * 5_000)
    ),
    "asks_to_wait_for_no_date": of_users(
        lambda answer: Answer(503).add("Retry-After", "Mon, 99 Jan 99999 99:99:99 GMT")
    ),
    "a_length_that_lies": of_users(
        lambda answer: answer.add("Content-Length", str(len(answer.body) + 9)).add(
            "Connection", "close"
        )
    ),
    "a_length_that_is_none": of_users(lambda answer: answer.add("Content-Length", "many")),
    "chunks_that_are_none": of_users(lambda answer: answer.add("Transfer-Encoding", "chunked")),
    "gzip_that_is_none": of_users(lambda answer: answer.add("Content-Encoding", "gzip")),
    "a_header_without_end": of_users(lambda answer: answer.add("X-Long", "x" * 100_000)),
    "a_thousand_headers": of_users(
        lambda answer: Answer(200, answer.body, [(f"X-{number}", "x") for number in range(1_000)])
    ),
}
"""What costs the source its reading, or a person of it the row."""

TOTALS_OF: dict[str, str] = {
    "total_of_5000_digits": "9" * 5_000,
    "total_of_18_digits": "9" * 18,
    "total_below_nothing": "-3",
    "total_with_a_fraction": "20.5",
    "total_in_words": "twenty",
    "total_twice": "20, 20",
}
SLOW: dict[str, Spoil] = {
    "drips_its_body": of_users(lambda answer: Answer(200, answer.body, answer.headers, pause=0.2)),
    "drips_its_head": of_users(
        lambda answer: Answer(200, answer.body, answer.headers, slow_head=0.2)
    ),
}
EVERYWHERE: dict[str, Spoil] = {
    "every_answer_is_deep": lambda asked, answer: Answer(200, DEEP),
    "every_answer_is_not_utf8": lambda asked, answer: Answer(200, b"\xff\xfe\xfd"),
    "every_answer_is_null": lambda asked, answer: Answer(200, b"null"),
    "every_answer_is_an_empty_object": lambda asked, answer: Answer(200, b"{}"),
}


def prove(attacked: Attacked, spoil: Spoil, *, codes: set[int], seconds: float = 30) -> None:
    attacked.vendor.spoil = spoil
    with quickly(seconds):
        outcome = attacked.sync()
    assert outcome.exit_code in codes, (outcome, outcome.error)
    attacked.spared()
    told = attacked.told() + repr(outcome)
    assert NAME not in told
    assert "Liam" not in told
    attacked.vendor.spoil = lambda asked, answer: answer
    attacked.sync(code=0)
    attacked.spared()
    assert attacked.world.count("active") == 20 + attacked.newcomers


def some(modes: dict[str, Any], dialect: str) -> dict[str, Any]:
    """Return every mode in the long run; in the quick run each mode meets one dialect."""
    shift = DIALECTS.index(dialect)
    return modes if LONG else {
        name: mode for number, (name, mode) in enumerate(modes.items())
        if number % len(DIALECTS) == shift
    }  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_does_not_touch_the_roster_does_no_harm(attack: Attack, dialect: str) -> None:
    attacked = attack(dialect)
    attacked.sync(code=0)
    for spoil in HARMLESS.values():
        prove(attacked, spoil, codes={0})


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_a_server_serves_is_its_sources_failure_at_most(attack: Attack, dialect: str) -> None:
    attacked = attack(dialect)
    attacked.sync(code=0)
    for spoil in some(HARMFUL, dialect).values():
        prove(attacked, spoil, codes={0, 12})


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_server_that_makes_no_sense_at_all_is_its_sources_failure(
    attack: Attack, dialect: str
) -> None:
    attacked = attack(dialect)
    attacked.sync(code=0)
    for spoil in some(EVERYWHERE, dialect).values():
        prove(attacked, spoil, codes={12})


def token(**more: Any) -> Spoil:
    """Give out another token."""
    answer = {"access_token": "t0ken", "token_type": "bearer", "expires_in": 3600, **more}
    return at_the_token(Answer(body=json.dumps(answer).encode()))


def at_the_token(given: Answer) -> Spoil:
    return lambda asked, answer: given if asked.what == "token" else answer


TOKENS = {
    "forges_a_header": token(access_token="a\r\nX-Forged: 1"),
    "is_not_ascii": token(access_token="\u043a\u043b\u044e\u0447"),
    "is_empty": token(access_token=""),
    "is_a_number": token(access_token=5),
    "is_very_long": token(access_token="x" * 100_000),
    "holds_for_5000_digits": at_the_token(
        Answer(200, b'{"access_token": "t0ken", "expires_in": ' + b"9" * 5_000 + b"}")
    ),
    "holds_for_less_than_nothing": token(expires_in=-5),
    "is_nested_deep": at_the_token(Answer(200, DEEP)),
    "is_not_utf8": at_the_token(Answer(200, b'{"access_token": "\xff"}')),
    "unpacks_into_much": at_the_token(
        Answer(200, gzip.compress(b" " * 5_000_000)).add("Content-Encoding", "gzip")
    ),
    "is_an_error_with_a_name": at_the_token(
        Answer(400, json.dumps({"error": NAME, "error_description": NAME}).encode())
    ),
}


@pytest.mark.parametrize("dialect", ["gg4l", "oneroster12"])
def test_what_a_token_endpoint_serves_is_its_sources_failure_at_most(
    attack: Attack, dialect: str
) -> None:
    attacked = attack(dialect)
    attacked.sync(code=0)
    for name, spoil in TOKENS.items():
        prove(attacked, spoil, codes={14} if name == "is_an_error_with_a_name" else {0, 12})


@pytest.mark.parametrize("dialect", ["classlink", "oneroster", "oneroster12"])
def test_a_total_that_is_no_number_proves_nothing(attack: Attack, dialect: str) -> None:
    attacked = attack(dialect)
    attacked.sync(code=0)
    for total in TOTALS_OF.values():
        attacked.vendor.listed = lambda people: people[:15]
        attacked.vendor.spoil = lambda asked, answer, total=total: (  # type: ignore[misc]
            answer.add("X-Total-Count", total) if asked.what == "users" else answer
        )
        assert attacked.sync().exit_code == 12, total
        attacked.spared()
        attacked.vendor.listed = lambda people: people


@pytest.mark.parametrize("mode", SLOW)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_server_that_drips_is_given_up_in_time(attack: Attack, dialect: str, mode: str) -> None:
    attacked = attack(dialect, request_timeout=1)
    attacked.sync(code=0)
    prove(attacked, SLOW[mode], codes={12}, seconds=10)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_reading_of_many_slow_pages_has_an_end(attack: Attack, dialect: str) -> None:
    """Each answer comes in time, and there is no end of them."""
    attacked = attack(dialect, reading_timeout=2, count=20)
    attacked.sync(code=0)
    attacked.vendor.page_size = 1
    prove(attacked, lambda asked, answer: Answer(
        answer.status, answer.body, answer.headers, slow_head=0.01
    ), codes={12}, seconds=20)  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_error_is_told_in_codes_and_the_scope_that_is_missing_is_named(
    attack: Attack, dialect: str
) -> None:
    """Of what a vendor writes nothing is told but codes of the standards and scopes."""
    attacked = attack(dialect)
    attacked.sync(code=0)
    scope = SCOPE.get(dialect, "read:students")
    said = {
        "error": "insufficient_scope",
        "error_description": f"{NAME} may not read liam@springfield.example without {scope}.",
    }
    attacked.vendor.spoil = of_users(lambda answer: Answer(403, json.dumps(said).encode()))
    outcome = attacked.sync()
    assert outcome.exit_code == 14
    assert outcome.error is not None
    assert scope in outcome.error.message
    assert "insufficient_scope" in outcome.error.message
    told = attacked.told() + repr(outcome) + outcome.error.message + outcome.error.hint
    assert "Liam" not in told
    assert "liam@" not in told
    attacked.vendor.spoil = lambda asked, answer: (
        Answer(403, json.dumps(said).encode()) if asked.what == "users" else answer
    )
    (checked,) = check_district(attacked.world.database, SLUG, ["sis"])
    printed = "\n".join(line.message for line in checked.lines)
    assert scope in printed, "check names it too"
    assert "Liam" not in printed
