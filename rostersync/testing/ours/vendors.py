"""The scenarios of our connectors over HTTP: the emulator, with one record edited in each."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from rostersync.testing.emulated import EmulatorScenario
from rostersync.testing.scenario import CANARY, Situation

# The settings below name each field of a connector's config once, so that the emulator need not
# know them: what it calls otherwise is renamed here.


_EXPECTED = Path(__file__).parent / "expected"
_PROBE = "orgs"
"""OneRoster's question for the district may stay unanswered, and is then asked once only."""


def clever() -> EmulatorScenario:
    """Return Clever v3.0, its token looked up by client id, with its feed of events."""
    return EmulatorScenario(
        "clever",
        expected=_EXPECTED / "clever.json",
        mode="lookup",
        settle=lambda config: {**_renamed(config, {"token_url": "tokens_url"}), "events": True},
        edit=_clever,
        resumes=lambda asked: asked.path.endswith("/events") and "starting_after" in asked.query,
        spared=("/oauth/tokens",),
    )


def oneroster() -> EmulatorScenario:
    """Return OneRoster 1.2 over OAuth 2."""
    root = "/ims/oneroster/rostering/v1p2"
    return EmulatorScenario(
        "oneroster12",
        expected=_EXPECTED / "oneroster.json",
        edit=_oneroster,
        spared=("/oauth2/token", f"{root}/{_PROBE}"),
    )


def oneroster_11() -> EmulatorScenario:
    """Return OneRoster 1.1 over OAuth 1.0a."""
    root = "/ims/oneroster/v1p1"
    return EmulatorScenario(
        "oneroster",
        expected=_EXPECTED / "oneroster_11.json",
        mode="oauth1",
        edit=_oneroster,
        spared=(f"{root}/{_PROBE}",),
    )


def classlink() -> EmulatorScenario:
    """Return ClassLink's proxy, its application found by the partner's key."""
    return EmulatorScenario(
        "classlink",
        expected=_EXPECTED / "classlink.json",
        mode="discovery",
        settle=lambda config: {**config, "tenant_id": str(config["tenant_id"])},
        edit=_oneroster,
        spared=("/applications",),
    )


def gg4l() -> EmulatorScenario:
    """Return GG4L, the district's credentials found by the partner's."""
    return EmulatorScenario(
        "gg4l",
        expected=_EXPECTED / "gg4l.json",
        mode="discovery",
        settle=lambda config: _renamed(
            config,
            {
                "token_url": "onboarding_token_url",
                "client_id": "onboarding_client_id",
                "client_secret": "onboarding_client_secret",
            },
        ),
        edit=_oneroster,
        spared=("/datahub/oauth/token", "/datahub/services/vendor/onboarding/credentials"),
    )


def _renamed(config: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Rename fields, but for those that have their right name already."""
    return {
        new if (new := names.get(name)) and new not in config else name: value
        for name, value in config.items()
    }


def _clever(situation: Situation, path: str, document: Any) -> None:
    if not path.endswith("/users") or not document.get("data"):
        return
    first = document["data"][0]["data"]
    match situation:
        case Situation.BAD_ROW:
            bad = copy.deepcopy(document["data"][0])
            bad["data"].update(id="", email="", name={"first": CANARY, "last": CANARY})
            document["data"].insert(1, bad)
        case Situation.UNKNOWN_WORDS:
            first.setdefault("roles", {})["wizard"] = {"school": "nowhere"}
        case Situation.PRIVATE_DATA:
            first["password"] = CANARY
            first.setdefault("roles", {}).setdefault("student", {}).update(dob=CANARY)
            first["roles"]["student"]["gender"] = CANARY
        case _:
            pass


def _oneroster(situation: Situation, path: str, document: Any) -> None:
    if not path.endswith("/users") or not document.get("users"):
        return
    first = document["users"][0]
    match situation:
        case Situation.BAD_ROW:
            names = dict.fromkeys(("givenName", "familyName", "username", "email"), CANARY)
            document["users"].insert(1, {**copy.deepcopy(first), **names, "sourcedId": ""})
        case Situation.UNKNOWN_WORDS:
            first["grades"] = ["Explorer"]
            first["status"] = "sabbatical"
        case Situation.PRIVATE_DATA:
            first.update(password=CANARY, sms=CANARY, demographics={"birthDate": CANARY})
        case _:
            pass
