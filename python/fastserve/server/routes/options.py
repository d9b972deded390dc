"""What a path takes: the answer to OPTIONS, a browser's preflight among them, and to a wrong verb.

Whether the page that asks may read answers at all the core says, for every answer alike
(gateway/http/cors.h); what it may send is said here. A browser asks before it sends some things and
not before others: a page that somebody on this network looks at can send a POST that nobody
allowed. So what changes the server is refused to it.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from fastserve.errors import Error
from fastserve.server.routes import table
from fastserve.server.routes.responses import ControlRequest, Response

# Of what a page sets itself; the rest a browser allows anyway, or nobody here reads.
_HEADERS = (
    "Content-Type, Content-Encoding, Authorization, Inference-Header-Content-Length,"
    " Inference-Timeout-Ms, Fastserve-Timing"
)
# For how long a browser need not ask again.
_MAX_AGE_S = 600


class WrongVerb(Error):
    """A path that exists does not take this verb."""

    def __init__(self, method: str, path: str, verbs: tuple[str, ...]) -> None:
        shown = " or ".join(verb for verb in verbs if verb != "OPTIONS")
        super().__init__("UNIMPLEMENTED", f"{method} is not possible at {path}; use {shown}")
        self.allow = ", ".join(verbs)


# What a page of another origin must not do unasked.
CHANGES = frozenset(
    (
        *("log_set", "trace_set", "model_load", "model_unload", "model_labels", "model_rollback"),
        *("system_memory_register", "system_memory_unregister"),
        *("cuda_memory_register", "cuda_memory_unregister"),
    )
)
_SHOWN_MAX = 100


def refuse_foreign_page(request: ControlRequest, allowed: Collection[str]) -> None:
    """Errors: PERMISSION_DENIED for a page that is neither this server's own nor allowed."""
    said = {name.lower(): value for name, value in request.headers}
    origin = said.get("origin")
    if origin is None or "*" in allowed or origin in allowed:
        return
    try:
        is_own = urlsplit(origin).netloc == said.get("host", "").lower() != ""
    except ValueError:
        is_own = False
    if not is_own:
        raise Error(
            "PERMISSION_DENIED",
            f"a page of {origin[:_SHOWN_MAX]} may not change this server; --cors-origins allows it",
        )


def options(request: ControlRequest, *, has_cors: bool) -> Response:
    """Of a path that is there, or of "*", which is the server as a whole."""
    found = table.find(request.path)
    verbs = ("GET", "HEAD", "POST", "OPTIONS") if found is None else table.verbs(found[0])
    headers = [("Allow", ", ".join(verbs))]
    asked = {name.lower() for name, _ in request.headers}
    if has_cors and {"origin", "access-control-request-method"} <= asked:
        headers += [
            ("Access-Control-Allow-Methods", ", ".join(verb for verb in verbs[:-1])),
            ("Access-Control-Allow-Headers", _HEADERS),
            ("Access-Control-Max-Age", str(_MAX_AGE_S)),
        ]
    return Response(204, b"", headers)
