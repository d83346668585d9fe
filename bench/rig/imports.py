"""What a command imports: recorded from a real one, and imported again with nothing done.

Called as ``python -c "from bench.rig.imports import load; load()" FILE``; it imports nothing that
the command does not, so that nothing of its own is counted.
"""

from __future__ import annotations

import sys


def record() -> None:
    """Run the command after FILE, write what it imported into FILE, in order; end as it ends."""
    from rostersync.cli.app import run

    code = run(sys.argv[2:])
    with open(sys.argv[1], "w") as file:  # noqa: PTH123 - pathlib would be one import more
        for name, module in list(sys.modules.items()):
            spec = getattr(module, "__spec__", None)
            if spec is not None and spec.name == name and not name.startswith("bench"):
                file.write(f"{name}\n")
    sys.exit(code)


def load() -> None:
    """Import what FILE names, and begin and end as the command does."""
    from sync.run.gc_pause import look_no_more, look_seldom

    look_seldom()
    with open(sys.argv[1]) as file:  # noqa: PTH123 - pathlib would be one import more
        for name in file.read().split():
            __import__(name)
    look_no_more()
