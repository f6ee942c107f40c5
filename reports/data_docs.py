"""Great Expectations' Data Docs pages, made to stand alone and to look like the house's other pages.

As generated they load Bootstrap, jQuery, fonts and charts from eight hosts; without a network they are bare
lists and their start page, drawn by a script, is empty. Here every outside link and every script is taken
out, one local style sheet put in, and the start page written anew: a validation record must still open, and
look the same, in ten years.
"""

from __future__ import annotations

import re
from pathlib import Path

_OUTSIDE = re.compile(
    r"""<link\b[^>]*href=["']https?://[^>]*>"""
    r"""|<script\b.*?</script>"""
    r"""|<img\b[^>]*src=["']https?://[^>]*>"""
    r"""|<footer\b.*?</footer>"""
    r"""|url\(["']?https?://[^)]*\)""",
    re.IGNORECASE | re.DOTALL,
)
_ASSETS = ("images", "fonts")
_STYLE = "static/styles/offline.css"
_TEMPLATES = Path(__file__).parent / "templates"


def make_offline(site: Path) -> list[Path]:
    """Rewrite every page under `site` so that it loads nothing from the network; returns those pages, in
    order."""
    sheet = site / _STYLE
    sheet.parent.mkdir(parents=True, exist_ok=True)
    sheet.write_text((_TEMPLATES / "page.css").read_text() + (_TEMPLATES / "data_docs.css").read_text())
    for folder in _ASSETS:  # 2 MB of logos and typefaces that no page names any more
        for asset in (site / "static" / folder).rglob("*"):
            if asset.is_file():
                asset.unlink()
    pages = sorted(site.rglob("*.html"))
    for page in pages:
        up = "../" * (len(page.relative_to(site).parts) - 1)
        text = _OUTSIDE.sub("", page.read_text(encoding="utf-8"))
        text = text.replace("</head>", f'<link rel="stylesheet" href="{up}{_STYLE}">\n</head>', 1)
        text = text.replace("<html", '<html lang="en"', 1) if "<html lang" not in text else text
        page.write_text(text, encoding="utf-8")
    return pages
