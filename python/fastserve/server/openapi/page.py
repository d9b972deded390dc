"""The page at /docs: the document for people, who can try each operation. Nothing is fetched from
elsewhere, and what the document says is shown as text, whatever names models have."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from pathlib import Path

from fastserve.server.routes.responses import Response

_FILE = Path(__file__).with_name("page.html")


@functools.cache
def page() -> Response:
    body = _FILE.read_bytes()
    scripts, styles = (
        " ".join(
            _hash(text) for text in re.findall(rb"<%b>(.*?)</%b>" % (tag, tag), body, re.DOTALL)
        )
        for tag in (b"script", b"style")
    )
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = (
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", policy),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
    )
    return Response(200, body, headers)


def _hash(text: bytes) -> str:
    """As a policy names what it allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'"
