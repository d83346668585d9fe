"""The scenarios of our connectors over HTTP: the emulator, with one record edited in each."""

from __future__ import annotations

import copy
from typing import Any

from rostersync.testing.emulated import EmulatorScenario
from rostersync.testing.scenario import CANARY, Situation


def clever() -> EmulatorScenario:
    """Return Clever v3.0, its token looked up by client id, and its feed of events."""
    return EmulatorScenario(
        "clever", mode="lookup", edit=_clever, settle=_clever_config, spared=("/oauth/tokens",)
    )


def _clever_config(config: dict[str, Any]) -> dict[str, Any]:
    tokens_url = config.pop("token_url", None) or config["tokens_url"]
    return {**config, "tokens_url": tokens_url, "events": True}


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
