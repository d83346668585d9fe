"""How ``make site`` builds the pages of ``docs/`` (Sphinx, MyST, furo)."""

project = "rostersync"
author = "The rostersync engineers"
copyright = "the rostersync engineers, Apache-2.0"

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4
"""Headings get the anchors that they have on GitHub, so that one link works in both places."""

html_theme = "furo"
html_title = "rostersync"
html_copy_source = False
html_show_sphinx = False
highlight_language = "none"
nitpicky = True


def setup(app: object) -> None:
    """Teach Pygments two words of our pages: blocks of CSV and of cron are shown as they are."""
    from pygments.lexers.special import TextLexer

    for word in ("csv", "cron"):
        app.add_lexer(word, TextLexer)  # type: ignore[attr-defined]
