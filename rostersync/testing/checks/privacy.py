"""What must not come out: secrets, names in logs and errors, private data, unknown words."""

from __future__ import annotations

import re

from connectors.contract.connector import FetchRequest
from core.errors import RosterSyncError
from core.models import NormalizedUser
from rostersync.testing.bench import Bench, check, demand, over_http, secrets_of
from rostersync.testing.reading import Reading, read
from rostersync.testing.scenario import CANARY, Situation


def _has_secrets(bench: Bench) -> str:
    with bench.scenario.open(Situation.ROSTER) as setting:
        return "" if secrets_of(bench.configure(setting)) else "has no secrets"


def _said(error: RosterSyncError | None) -> str:
    if error is None:
        return ""
    cause = error.__cause__
    return f"{error!r} {error} {error.hint} {error.as_json()} {cause!r} {cause}"


@check(_has_secrets)
def secrets_are_never_shown(bench: Bench) -> None:
    """No repr, text, dump or log of a connector and its config shows a secret."""
    with bench.open() as (connector, setting):
        secrets = secrets_of(connector.config)
        reading = read(bench.connect(setting), FetchRequest(directory=setting.directory))
        shown = " ".join(
            [
                *(repr(value) + str(value) for value in (connector, connector.config)),
                connector.config.model_dump_json(),
                repr(reading.certificate),
                reading.log,
            ]
        )
    demand(not any(secret in shown for secret in secrets), "a secret is shown")


@check(lambda bench: over_http(bench) or _has_secrets(bench))
def errors_show_no_secret(bench: Bench) -> None:
    """No error and no log of a refused or failing vendor shows a secret."""
    for situation in (Situation.REFUSED, Situation.FAILING):
        taken = bench.take(situation)
        said = _said(taken.reading.error) + taken.reading.log
        secrets = secrets_of(taken.reading.connector.config)
        demand(
            not any(secret in said for secret in secrets),
            f"a secret is shown when the vendor is {situation.value}",
        )


def _personal(user: NormalizedUser) -> list[str]:
    full = f"{user.given_name} {user.family_name}"
    return [text for text in (user.email, user.username, full) if text and len(text) > 4]


def _named(reading: Reading, said: str) -> bool:
    return any(
        re.search(rf"(?<!\w){re.escape(text)}(?!\w)", said)
        for user in reading.users
        for text in _personal(user)
    )


@check()
def no_name_is_logged(bench: Bench) -> None:
    """Names and emails of people never reach the log, at any level."""
    reading = bench.roster()
    demand(not _named(reading, reading.log), "the log names a person")


@check()
def certificates_name_nobody(bench: Bench) -> None:
    """The reason and the notes of a certificate name no person."""
    reading = bench.roster()
    certificate = reading.certificate
    said = " ".join([certificate.reason or "", *certificate.notes]) if certificate else ""
    demand(not _named(reading, said), "the certificate names a person")


@check()
def a_bad_row_is_skipped_alone(bench: Bench) -> None:
    """One row that cannot be used raises SkipRecord; all other rows are still read."""
    reading = bench.read(Situation.BAD_ROW)
    demand(reading.skips, "the bad row was not skipped by SkipRecord")
    people = len({user.external_id for user in reading.users})
    wanted = bench.scenario.people
    demand(people == wanted, f"{people} people were read beside the bad row, not {wanted}")


@check()
def a_skip_says_what_to_repair(bench: Bench) -> None:
    """A SkipRecord carries a rule (a slug), the column at fault, and a sentence."""
    for skip in bench.read(Situation.BAD_ROW).skips:
        demand(
            re.fullmatch(r"[a-z0-9]+([._-][a-z0-9]+)*", skip.rule),
            f"the rule {skip.rule!r} is no slug",
        )
        demand(skip.column, f"the rule {skip.rule!r} names no column")
        demand(skip.message.strip(), f"the rule {skip.rule!r} has no sentence")


@check()
def a_skip_names_nobody(bench: Bench) -> None:
    """A SkipRecord holds nothing personal: a row is named by file and line, not by its person."""
    reading = bench.read(Situation.BAD_ROW)
    _demand_canary(reading, Situation.BAD_ROW)
    said = " ".join(
        f"{skip!r} {skip} {skip.hint} {skip.rule} {skip.column} {skip.__cause__!r}"
        for skip in reading.skips
    )
    demand(CANARY not in (said + reading.log).lower(), "a SkipRecord or the log names the person")


@check()
def unknown_words_are_tolerated_and_counted(bench: Bench) -> None:
    """A word that the vendor does not document loses nobody, and is reported as unknown."""
    reading = bench.read(Situation.UNKNOWN_WORDS)
    people = len({user.external_id for user in reading.users})
    wanted = bench.scenario.people
    demand(people == wanted, f"{people} of {wanted} people were read beside the unknown word")
    unknown = [
        *(word for record in reading.records for word in record.unknown),
        *(word for row in reading.served for word in getattr(row.said, "unknown", ())),
    ]
    demand(unknown, "the unknown word was not told in `unknown`")
    demand(all("=" in word for word in unknown), "an entry of `unknown` is not `field=token`")
    demand(not _named(reading, " ".join(unknown)), "`unknown` names a person")


@check()
def private_data_is_dropped(bench: Bench) -> None:
    """Passwords and demographics are dropped while reading: no field of a record holds them."""
    reading = bench.read(Situation.PRIVATE_DATA)
    _demand_canary(reading, Situation.PRIVATE_DATA)
    parts = [row.said for row in reading.served]
    kept = repr(reading.records) + repr(parts) + reading.log
    demand(CANARY not in kept.lower(), "a record keeps private data")
    people = len({user.external_id for user in reading.users})
    wanted = bench.scenario.people
    demand(people == wanted, f"{people} of {wanted} people were read beside the private data")


def _demand_canary(reading: Reading, situation: Situation) -> None:
    served = b" ".join(row.raw for row in reading.served).lower()
    demand(
        CANARY.encode() in served,
        f"no served record of {situation.value!r} holds the word {CANARY!r} (the scenario must)",
    )
