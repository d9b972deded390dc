"""Which path is which route."""

import pytest

from fastserve.server.routes import table


@pytest.mark.parametrize(
    ("path", "operation", "values"),
    [
        ("/", "index", {}),
        ("/v2", "server_metadata", {}),
        ("/v2/models/stats", "statistics", {}),
        ("/v2/models/m", "model_metadata", {"model": "m"}),
        ("/v2/models/m/versions/3", "model_metadata", {"model": "m", "version": "3"}),
        ("/v2/models/m/stats", "statistics", {"model": "m"}),
        ("/v2/models/stats/stats", "statistics", {"model": "stats"}),
        ("/v2/models/m/versions/3/stats", "statistics", {"model": "m", "version": "3"}),
        ("/v2/models/m/versions//config", "model_config", {"model": "m", "version": ""}),
        ("/v2/models/versions/versions/1", "model_metadata", {"model": "versions", "version": "1"}),
        ("/v2/trace/setting", "trace_get", {}),
        ("/v2/models/{model}/trace/setting", "trace_get", {"model": "{model}"}),
        ("/v2/systemsharedmemory/status", "system_memory_status", {}),
        ("/v2/systemsharedmemory/region/r/status", "system_memory_status", {"region": "r"}),
        ("/v2/cudasharedmemory/region/r/status", "cuda_memory_status", {"region": "r"}),
    ],
)
def test_a_path_that_is_there(path, operation, values):
    route, found = table.find(path) or pytest.fail(f"nothing at {path}")
    assert (route.operations["GET"], found) == (operation, values)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "*",
        "v2",
        "/v2/",
        "/v2/stats",
        "/v2/models/",
        "/v2/models//stats",
        "/v2/models/m/",
        "/v2/models/m/versions/stats/x",
        "/v2/models/m/versions/1/trace/setting",
        "/v2/repository/models//load",
        "/v2/systemsharedmemory/region//status",
        "/v2/systemsharedmemory/region/a/b/status",
        "/v2/systemsharedmemory/register",
    ],
)
def test_one_that_is_not(path):
    assert table.find(path) is None


def test_head_comes_with_get_and_options_with_all():
    setting, _ = table.find("/v2/logging") or pytest.fail("nothing")
    assert table.verbs(setting) == ("GET", "HEAD", "POST", "OPTIONS")
    infer, _ = table.find("/v2/models/m/infer") or pytest.fail("nothing")
    assert table.verbs(infer) == ("POST", "OPTIONS")


def test_no_path_stands_twice_and_hints_know_the_words():
    paths = [route.path for route in table.ROUTES]
    assert len(set(paths)) == len(paths)
    assert table.MODEL_WORDS == [
        "config",
        "generate",
        "generate_stream",
        "infer",
        "ready",
        "stats",
        "trace/setting",
    ]
