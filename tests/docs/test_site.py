"""The pages of ``docs/`` build as a site, and every warning is an error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.docs.console import ROOT


def build(docs: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    return subprocess.run([*command, docs, site], capture_output=True, text=True, timeout=300)


def test_the_site_builds_without_a_warning_and_holds_every_page(tmp_path: Path) -> None:
    built = build(ROOT / "docs", tmp_path)
    assert built.returncode == 0, built.stderr
    for page in (ROOT / "docs").rglob("*.md"):
        assert (tmp_path / page.relative_to(ROOT / "docs")).with_suffix(".html").exists(), page


def test_a_link_that_leads_nowhere_fails_the_site(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "conf.py").write_text((ROOT / "docs" / "conf.py").read_text(encoding="utf-8"))
    (docs / "index.md").write_text("# A page\n\n[Somewhere](nowhere.md#at-all)\n")
    built = build(docs, tmp_path / "site")
    assert built.returncode != 0
    assert "nowhere.md" in built.stderr
