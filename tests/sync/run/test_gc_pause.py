"""The garbage collector: tuned in a process of our own, left alone in an app that embeds us."""

from __future__ import annotations

import gc
import subprocess
import sys

from sync.run.gc_pause import seldom

MANY_SYNCS = """
import gc, sys, weakref
from sync.run import gc_pause

class Cycle:
    def __init__(self):
        self.me = self
        self.bulk = [[] for _ in range(100)]

gc_pause.look_seldom()
if {stays}:
    gc_pause.look_as_usual()
alive = []
most = 0
for _ in range(2_000):
    with gc_pause.seldom():
        alive.append(weakref.ref(Cycle()))
    alive = [one for one in alive if one() is not None]
    most = max(most, len(alive))
print(most)
"""


def test_an_app_that_embeds_us_keeps_its_own_collector() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    with seldom():
        assert gc.get_threshold() == before
        assert gc.get_freeze_count() == frozen


def test_a_process_that_runs_many_syncs_frees_the_cycles_of_each() -> None:
    """Nothing piles up: of 2,000 syncs that leave a cycle each, the garbage of a few is there."""
    for stays, at_most in (("True", 50), ("False", 1_000)):
        program = MANY_SYNCS.replace("{stays}", stays)
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert int(done.stdout) <= at_most
