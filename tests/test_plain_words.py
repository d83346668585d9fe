"""What people read is plain English: docs, messages, docstrings and comments are free of riddles.

Each pattern is something that a native engineer stumbled over here. Mend the sentence, not the
pattern: say who does what, in ordinary words.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("core", "connectors", "sync", "rostersync", "bench", "release", "tests", "docs")
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
STRINGS = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}

RIDDLES = {
    r"\b[Ww]h(o|om)ever\b": "say who: 'the person who', 'everybody who'",
    r"\bin vain\b": "say what failed",
    r"\b(of|than) ours\b": "say 'our own'",
    r"\bby what (?!name)\b(is|it|was|they|a |the )": "say 'by the rule that' or 'as'",
    r"\b(what|that|which|who) (is|are) none\b": "say 'is not a …'",
    r"\ba (row|set|link|answer|source) is none\b": "say 'is not a …'",
    r"\bwhat is no such\b": "say 'anything else'",
    r"\bfor want of\b": "say 'because there is no'",
    r"\bstages? nobody\b": "say 'no row is staged'",
    r", for (it|they|we|he|she|nobody|there) ": "say 'because'",
    r"\b(lest|nought|hence|heretofore|thereof|whereof|ere)\b": "use a word of today",
}


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of everything in a file that a person reads."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in STRINGS:
            yield from enumerate(token.string.splitlines(), token.start[0])


def files() -> list[Path]:
    found = [ROOT / page for page in PAGES]
    for room in ROOMS:
        for suffix in ("py", "md", "toml"):
            found += sorted((ROOT / room).rglob(f"*.{suffix}"))
    return [path for path in found if path != Path(__file__)]


def riddles(path: Path) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {found[0]!r}: {instead}: {line.strip()}"
        for number, line in prose(path)
        for pattern, instead in RIDDLES.items()
        if (found := re.search(pattern, line))
    ]


def test_nothing_that_a_person_reads_is_a_riddle() -> None:
    found = [riddle for path in files() for riddle in riddles(path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "said",
    [
        "whoever calls it", "an address that is none", "looked for in vain", "no role of ours",
        "left out, for it is unknown", "A day that stages nobody.",
    ],
)  # fmt: skip
def test_a_riddle_is_found(tmp_path: Path, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    for name, content in (("page.md", said), ("code.py", f'"""{said}"""\n'), ("c.py", f"# {said}")):
        (tmp_path / name).write_text(content + "\n")
        assert len(riddles(tmp_path / name)) == 1, name
