"""How a connector handles a failing vendor: nothing incomplete is ever called complete."""

from __future__ import annotations

from core.errors import CredentialsRefused, FileRefused, VendorFailure
from rostersync.testing.bench import (
    A_FAILURE_CERTIFIED,
    Bench,
    CheckFailed,
    check,
    demand,
    over_http,
)
from rostersync.testing.loopback import RETRY_AFTER
from rostersync.testing.reading import Reading
from rostersync.testing.scenario import Situation


def _never_complete(bench: Bench, situation: Situation) -> Reading:
    """Return the reading of a vendor that fails; fail if it was certified complete."""
    reading = bench.read(situation)
    if reading.complete:
        raise bench.once(
            CheckFailed(
                f"a reading that failed ({situation.value}) was certified complete, so that"
                " everybody after the failure would leave: let the error out of pages(), or return"
                " a Certificate with complete=False and a reason"
            ),
            A_FAILURE_CERTIFIED,
        )
    return reading


@check()
def a_truncated_roster_is_never_complete(bench: Bench) -> None:
    """A reading that ends early raises, or is certified incomplete: absence needs proof."""
    reading = _never_complete(bench, Situation.TRUNCATED)
    demand(
        reading.error is None or isinstance(reading.error, VendorFailure | FileRefused),
        f"a truncated roster raised {type(reading.error).__name__}",
    )


@check()
def an_incomplete_reading_says_why(bench: Bench) -> None:
    """A certificate that is not complete gives its reason, and an error its sentence."""
    reading = _never_complete(bench, Situation.TRUNCATED)
    certificate, error = reading.certificate, reading.error
    said = error.message if error else certificate.reason if certificate else None
    demand(said and said.strip(), "an incomplete reading does not say why")


@check(over_http)
def refused_credentials_are_told_apart(bench: Bench) -> None:
    """A 401 is CredentialsRefused: the admin must act, and retrying does not help."""
    reading = _never_complete(bench, Situation.REFUSED)
    raised = "nothing" if reading.error is None else type(reading.error).__name__
    demand(
        isinstance(reading.error, CredentialsRefused),
        f"a refusal (401) raised {raised}: raise CredentialsRefused, as VendorHttp does",
    )
    demand(not reading.complete and not reading.users, "people came out of a refusal")


@check(over_http)
def throttling_is_waited_out(bench: Bench) -> None:
    """A 429 is retried after the delay that the vendor asks for, and the reading is complete."""
    bench.whole()
    reading = bench.read(Situation.THROTTLED)
    demand(reading.complete, f"the reading did not get over a 429: {reading.error}")
    demand(len(reading.users) == bench.scenario.people, "people are missing after a 429")
    _, setting, slept = bench.take(Situation.THROTTLED)
    exchanges = setting.exchanges
    if exchanges is None:
        demand(slept > 0, "the connector did not wait after a 429")
        return
    throttled = [place for place, exchange in enumerate(exchanges) if exchange.status == 429]
    demand(throttled, "the scenario's vendor never answered 429")
    first = throttled[0]
    demand(len(exchanges) > first + 1, "the 429 was not retried")
    waited = exchanges[first + 1].at - exchanges[first].at + slept
    demand(waited >= RETRY_AFTER, f"retried after {waited:.2f} s; {RETRY_AFTER} s were asked for")


def _failure(bench: Bench, situation: Situation) -> None:
    reading = _never_complete(bench, situation)
    demand(
        isinstance(reading.error, VendorFailure) or reading.certificate is not None,
        f"a {situation.value} vendor raised {type(reading.error).__name__}, not VendorFailure",
    )


@check(over_http)
def a_failing_vendor_is_a_vendor_failure(bench: Bench) -> None:
    """A 500 that lasts is a VendorFailure: nobody leaves, the next run tries again."""
    _failure(bench, Situation.FAILING)


@check(over_http)
def bad_json_is_a_vendor_failure(bench: Bench) -> None:
    """An answer 200 with truncated JSON is a VendorFailure, not a crash and not an empty roster."""
    _failure(bench, Situation.GARBLED)


@check(over_http)
def a_page_of_html_is_a_vendor_failure(bench: Bench) -> None:
    """An answer 200 with a page of HTML (maintenance, a login) is a VendorFailure."""
    _failure(bench, Situation.HTML)


@check(over_http)
def a_failing_vendor_is_given_up(bench: Bench) -> None:
    """Retries end: a vendor that always fails is asked a few times, not for ever."""
    setting = bench.take(Situation.FAILING).setting
    asked = len(setting.exchanges or ())
    demand(asked <= 50, f"a failing vendor was asked {asked} times")


@check(over_http)
def check_tells_a_refusal(bench: Bench) -> None:
    """``check()`` reports refused credentials in a sentence, not by an exception."""
    with bench.open(Situation.REFUSED) as (connector, _):
        lines = list(connector.check())
    demand(any(not line.passed for line in lines), "check() passes though the vendor refuses us")
    demand(all(line.message.strip() for line in lines), "a line of check() has no sentence")
