"""Documents -> one HTML file that needs nothing else: what draws them, and they themselves."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

__all__ = ["SERVED_POLICY", "bundle", "embed", "page", "shell"]

SERVED_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
"""What a page that a server gives may do. Styles are set on elements of figures; scripts come from the server alone."""

NO_SCRIPT = "This page is drawn by a script, and scripts are off here."


def page(title: str, documents: Mapping[str, Any], *, plain: Sequence[str] = ()) -> str:
    """The whole page.

    Args:
        title: Of the page.
        documents: What is drawn, by name; ``index`` lists the studies.
        plain: Lines for a reader whose browser runs no scripts.
    """
    script = bundle("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data: blob:"
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<style>{bundle("page.css")}</style>'
    return shell(title, documents, head=head, script=f"<script>{script}</script>", plain=plain)


def shell(title: str, documents: Mapping[str, Any], *, head: str, script: str, plain: Sequence[str] = ()) -> str:
    """The page's frame: ``head`` and ``script`` are markup, everything else is escaped."""
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in plain)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{html.escape(title)}</title>
{head}
</head>
<body>
<div id="page"><noscript><h1>{html.escape(title)}</h1><p>{NO_SCRIPT}</p>{lines}</noscript></div>
<script type="application/json" id="documents">{embed(documents)}</script>
{script}
</body>
</html>
"""


def bundle(name: str) -> str:
    """A file of the built page: ``page.js`` or ``page.css``, made from ``web/`` by ``make web``."""
    return files("peftscope.views.report").joinpath("bundle", name).read_text(encoding="utf-8")


def embed(value: Any) -> str:
    r"""JSON that can stand in a script element: no text in it can end that.

    Raises:
        ValueError: A number is none that JSON knows.

    >>> embed("</script>")
    '"\\u003c/script>"'
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
