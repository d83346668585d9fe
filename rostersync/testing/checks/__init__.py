"""The checks, one file for each thing that they prove."""

from collections.abc import Mapping

from rostersync.testing.bench import Check
from rostersync.testing.checks import (
    abilities,
    contract,
    faults,
    given_files,
    incremental,
    privacy,
    roster,
)

CHECKS: Mapping[str, Check] = {
    one.name: one
    for module in (contract, roster, privacy, faults, abilities, incremental, given_files)
    for one in vars(module).values()
    if isinstance(one, Check)
}
"""Every check by name, in the order in which they run."""
