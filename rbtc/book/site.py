"""A Sphinx extension of the site: link previews, no script twice, roles that readers know.

Set `RBTC_SITE_URL` to the address of the published site; link previews want whole addresses.
"""

from __future__ import annotations

import html
import os
from typing import Any

PICTURE = "_static/opening.png"
SENTENCE = (
    "A concept that was pruned out of a diffusion model grows back from the zeros it left behind: "
    "the paper rebuilt as an executable book."
)


def setup(app: Any) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.connect("html-page-context", add_preview)
    app.connect("html-page-context", name_list_items)
    app.connect("html-page-context", drop_repeated, priority=900)  # after everybody added theirs
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def add_preview(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Title, sentence and picture for whoever shows a link to a page."""
    base = (os.environ.get("RBTC_SITE_URL") or app.config.html_baseurl or "").rstrip("/")
    prefix = f"{base}/" if base else ""
    tags = {
        "og:type": "website",
        "og:site_name": app.config.html_title,
        "og:title": context.get("title", ""),
        "og:description": SENTENCE,
        "og:image": f"{prefix}{PICTURE}",
        **({"og:url": f"{prefix}{page}.html"} if base else {}),
    }
    lines = [f'<meta property="{key}" content="{_plain(text)}" />' for key, text in tags.items()]
    lines.append(f'<meta name="description" content="{_plain(SENTENCE)}" />')
    lines.append('<meta name="twitter:card" content="summary_large_image" />')
    context["metatags"] = "\n".join([context.get("metatags") or "", *lines])


def drop_repeated(
    app: Any, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Leave out a script that stands there already: a `const` may be declared once."""
    kept: list[Any] = []
    for script in context.get("script_files", ()):
        attributes = getattr(script, "attributes", {})
        same = (getattr(script, "filename", script), attributes.get("body"))
        if all(same != known for known, _ in kept):
            kept.append((same, script))
    context["script_files"] = [script for _, script in kept]


def name_list_items(
    app: Any, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Call the entries of a bibliography items of its list, as screen readers expect."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def _plain(text: str) -> str:
    return html.escape(html.unescape(str(text)), quote=True)
