import pytest

from fastserve.server.routes.statistics import Asked, parse


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v2/models/stats", Asked()),
        ("/v2/models/m/stats", Asked("m")),
        ("/v2/models/stats/stats", Asked("stats")),
        ("/v2/models/m/versions/3/stats", Asked("m", "3")),
        ("/v2/models/m/versions/stats", None),
        ("/v2/models//stats", None),
        ("/v2/models/m", None),
        ("/v2/stats", None),
        ("/", None),
    ],
)
def test_paths(path, asked):
    assert parse(path) == asked
