"""What must not come out: secrets, names in logs and errors, private data, unknown words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from connectors.contract.connector import FetchRequest
from core.errors import RosterSyncError
from core.models import NormalizedUser
from rostersync.testing.bench import Bench, CheckFailed, check, demand, over_http, secrets_of
from rostersync.testing.reading import Reading, read
from rostersync.testing.scenario import CANARY, Setting, Situation


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
        reading = read(bench.connect(setting), FetchRequest(directory=setting.directory))
        for value in (connector, connector.config):
            _show_none(bench, repr(value) + str(value), f"repr of {type(value).__name__}", setting)
        _show_none(bench, connector.config.model_dump_json(), "dump of the config", setting)
        _show_none(bench, repr(reading.certificate), "certificate", setting)
        _show_none(bench, reading.log, "log", setting)
        _show_none(bench, reading.printed, "standard output or standard error", setting)


def _show_none(bench: Bench, said: str, where: str, setting: Setting) -> None:
    """Fail if a text holds a secret of the config, or a token that the vendor handed out."""
    given = bool(secrets := secrets_of(bench.configure(setting))) and _shown(secrets, said)
    if given or _shown(setting.issued, said):
        what = "a secret of the config" if given else "a token that the vendor issued"
        raise bench.once(
            CheckFailed(
                f"{what} is shown in the {where}: keep it in a SecretStr, and leave it out of"
                " messages"
            ),
            "a secret is shown",
        )


def _shown(secrets: Sequence[str], said: str) -> bool:
    return any(secret in said for secret in secrets)


@check(lambda bench: over_http(bench) or _has_secrets(bench))
def errors_show_no_secret(bench: Bench) -> None:
    """No error and no log of a refused or failing vendor shows a secret."""
    for situation in (Situation.REFUSED, Situation.FAILING):
        taken = bench.take(situation)
        where = f"when the vendor is {situation.value}"
        _show_none(bench, _said(taken.reading.error), f"error {where}", taken.setting)
        _show_none(bench, taken.reading.log, f"log {where}", taken.setting)
        _show_none(bench, taken.reading.printed, f"output {where}", taken.setting)


@check()
def nothing_is_printed(bench: Bench) -> None:
    """A connector prints nothing: standard output is the one JSON document of a command."""
    if bench.roster().printed.strip():
        secrets_are_never_shown.prove(bench)  # a secret that is printed is told as that
        raise CheckFailed("reading printed something: use logging, and log no name and no secret")


_LONG_NAME = 6
"""A shorter name alone may be an ordinary word of a log."""


def _personal(user: NormalizedUser) -> list[str]:
    given, family = user.given_name or "", user.family_name or ""
    whole = [f"{given} {family}", f"{family}, {given}", user.email or "", user.username or ""]
    alone = [name for name in (given, family) if len(name) >= _LONG_NAME]
    return [text for text in (*whole, *alone) if len(text) > 4]


def _named(reading: Reading, said: str) -> bool:
    return any(
        re.search(rf"(?<!\w){re.escape(text)}(?!\w)", said)
        for user in reading.users
        for text in _personal(user)
    )


@check()
def no_name_is_logged(bench: Bench) -> None:
    """Names and emails of people never reach the log, at any level, and are never printed."""
    reading = bench.roster()
    demand(not _named(reading, reading.log), "the log names a person: log counts and ids only")
    demand(not _named(reading, reading.printed), "a person is named in what is printed")


@check(over_http)
def errors_name_nobody(bench: Bench) -> None:
    """What a failing vendor says may quote a person: no error and no log repeats it."""
    reading = bench.read(Situation.FAILING)
    said = _said(reading.error) + reading.log + reading.printed
    people = bench.roster()
    demand(
        CANARY not in said.lower() and not _named(people, said),
        "an error or the log repeats what the vendor said about a person: say what was asked for"
        " and the status, and leave the body out",
    )


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
    bench.whole()
    reading = bench.read(Situation.BAD_ROW)
    demand(reading.skips, "the bad row was not skipped by SkipRecord")
    people = len({user.external_id for user in reading.users})
    wanted = bench.scenario.people
    demand(people == wanted, f"{people} people were read beside the bad row, not {wanted}")


@check()
def a_skip_says_what_to_repair(bench: Bench) -> None:
    """A SkipRecord carries a rule (a slug), the column at fault, and a sentence."""
    bench.whole()
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
    bench.whole()
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
    bench.whole()
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
    bench.whole()
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
