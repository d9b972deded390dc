"""The paths of the server over HTTP, and what each verb asks for there: one table for the router,
for OPTIONS and Allow, and for the OpenAPI document.

    route, values = find("/v2/models/digits/versions/1/config")
    route.operations["GET"], values    # "model_config", {"model": "digits", "version": "1"}

HEAD goes wherever GET does, OPTIONS everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MODEL, VERSION, REGION = "{model}", "{version}", "{region}"


@dataclass(frozen=True)
class Route:
    """`operations`: by verb, what is asked for: a name that the router has a function for."""

    path: str
    operations: Mapping[str, str]

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.path.split("/")[1:])


def _of_models(word: str, **operations: str) -> Iterator[Route]:
    """Of a model, and of one of its versions."""
    end = f"/{word}" if word else ""
    yield Route(f"/v2/models/{MODEL}{end}", operations)
    yield Route(f"/v2/models/{MODEL}/versions/{VERSION}{end}", operations)


def _of_regions(kind: str) -> Iterator[Route]:
    """Of one region of shared memory, and of all."""
    root, one = f"/v2/{kind}sharedmemory", f"/v2/{kind}sharedmemory/region/{REGION}"
    yield Route(f"{one}/register", {"POST": f"{kind}_memory_register"})
    for path in (root, one):
        yield Route(f"{path}/unregister", {"POST": f"{kind}_memory_unregister"})
        yield Route(f"{path}/status", {"GET": f"{kind}_memory_status"})


ROUTES = (
    Route("/", {"GET": "index"}),
    Route("/v2", {"GET": "server_metadata"}),
    Route("/v2/health/live", {"GET": "server_live"}),
    Route("/v2/health/ready", {"GET": "server_ready"}),
    Route("/v2/models/stats", {"GET": "statistics"}),
    *_of_models("", GET="model_metadata"),
    *_of_models("ready", GET="model_ready"),
    *_of_models("config", GET="model_config"),
    *_of_models("stats", GET="statistics"),
    *_of_models("infer", POST="infer"),
    *_of_models("generate", POST="generate"),
    *_of_models("generate_stream", POST="generate_stream"),
    Route(f"/v2/models/{MODEL}/trace/setting", {"GET": "trace_get", "POST": "trace_set"}),
    Route("/v2/trace/setting", {"GET": "trace_get", "POST": "trace_set"}),
    Route("/v2/logging", {"GET": "log_get", "POST": "log_set"}),
    Route("/v2/repository/index", {"POST": "repository_index"}),
    Route("/v2/repository/events", {"GET": "repository_events"}),
    *(
        Route(f"/v2/repository/models/{MODEL}/{word}", {"POST": f"model_{word}"})
        for word in ("load", "unload", "labels", "rollback")
    ),
    *_of_regions("system"),
    *_of_regions("cuda"),
    Route("/metrics", {"GET": "metrics"}),
    Route("/debug", {"GET": "debug"}),
    Route("/v2/openapi.json", {"GET": "openapi"}),
    Route("/docs", {"GET": "docs"}),
)
_FIXED = {route.path: route for route in ROUTES if "{" not in route.path}
_PATTERNS = [route for route in ROUTES if "{" in route.path]
# What may stand behind a model's name.
MODEL_WORDS = sorted(
    {
        "/".join(route.segments[3:])
        for route in _PATTERNS
        if route.path.startswith("/v2/models/") and VERSION not in route.path and route.segments[3:]
    }
)


def find(path: str) -> tuple[Route, dict[str, str]] | None:
    """The route of a decoded path, and what the path says in the place of a parameter."""
    if path in _FIXED:
        return _FIXED[path], {}
    segments = path.split("/")[1:]
    for route in _PATTERNS:
        values = _match(route.segments, segments)
        if values is not None:
            return route, values
    return None


def _match(wanted: tuple[str, ...], found: list[str]) -> dict[str, str] | None:
    if len(wanted) != len(found):
        return None
    values: dict[str, str] = {}
    for want, is_there in zip(wanted, found, strict=True):
        if want.startswith("{"):
            # No name is empty; a version may be, and is then the default one.
            if not is_there and want != VERSION:
                return None
            values[want[1:-1]] = is_there
        elif want != is_there:
            return None
    return values


def verbs(route: Route) -> tuple[str, ...]:
    """All that it takes, as Allow says them."""
    names = list(route.operations)
    if "GET" in names:
        names.insert(names.index("GET") + 1, "HEAD")
    return (*names, "OPTIONS")
