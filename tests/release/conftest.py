"""The wheel of this project, built once, and an environment that has it and nothing beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.release.installed import PROJECT, Environment, build_wheel, new_environment


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(PROJECT, tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Environment:
    return new_environment(tmp_path_factory.mktemp("alone") / "venv", wheel)
