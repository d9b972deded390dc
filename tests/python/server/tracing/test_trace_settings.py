"""The settings of the server and of models, as Triton's clients set them."""

import pytest

from fastserve.errors import Error
from fastserve.server.live.loop_settings import TraceRates
from fastserve.server.tracing.trace_settings import Effective, TraceSettings

ON = {"trace_level": ["TIMESTAMPS"]}


@pytest.fixture
def settings() -> TraceSettings:
    return TraceSettings("/t/trace.json", Effective())


def test_nothing_is_traced_at_first(settings):
    assert settings.shown("") == {
        "trace_file": "/t/trace.json",
        "trace_level": ["OFF"],
        "trace_rate": "1000",
        "trace_count": "-1",
        "log_frequency": "0",
        "trace_mode": "triton",
    }
    assert settings.rates() == TraceRates(0, {})


def test_what_is_named_is_changed_and_null_takes_it_back(settings):
    settings.change("", {**ON, "trace_rate": "10", "log_frequency": 5})
    assert settings.rates() == TraceRates(10, {})
    assert settings.shown("")["log_frequency"] == "5"
    settings.change("", {"trace_rate": None})
    assert settings.rates() == TraceRates(1000, {})
    settings.change("", {"trace_level": None})
    assert settings.shown("")["trace_level"] == ["OFF"]
    assert settings.shown("")["log_frequency"] == "5"


def test_what_a_server_was_started_with_comes_back(settings):
    started = TraceSettings("/t", Effective(is_on=True, rate=7))
    started.change("", {"trace_level": ["OFF"], "trace_rate": "1"})
    assert started.rates() == TraceRates(0, {})
    started.change("", {"trace_level": None, "trace_rate": None})
    assert started.rates() == TraceRates(7, {})


def test_a_model_has_its_own_where_it_has_and_the_servers_elsewhere(settings):
    settings.change("m", {"trace_rate": "3"})
    assert settings.rates() == TraceRates(0, {"m": 0})
    settings.change("", {**ON, "trace_count": "5"})
    assert settings.rates() == TraceRates(1000, {"m": 3})
    assert settings.shown("m")["trace_count"] == "5"
    settings.change("m", {"trace_level": "OFF"})
    assert settings.rates() == TraceRates(1000, {"m": 0})
    settings.change("m", {"trace_rate": None, "trace_level": None})
    assert settings.rates() == TraceRates(1000, {})


def test_a_count_ends_the_tracing_of_all_that_share_it(settings):
    settings.change("", {**ON, "trace_rate": "1", "trace_count": "2"})
    settings.change("own", {"trace_count": "1"})
    settings.change("shares", {"trace_rate": "2"})
    assert settings.use("other") == ("", True)
    assert settings.shown("")["trace_count"] == "1"
    assert settings.use("own") == ("own", True)
    assert settings.use("own") == ("own", False)
    assert settings.use("shares") == ("shares", True)
    assert settings.use("shares") == ("shares", False)
    assert settings.use("other") == ("", False)
    assert settings.rates() == TraceRates(0, {"own": 0, "shares": 0})
    assert settings.shown("")["trace_count"] == "0"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trace_rat": "1"}, "there is no trace setting 'trace_rat'; did you mean 'trace_rate'?"),
        (
            {"trace_rate": "0"},
            'trace_rate: expected a number from "1" to "4294967295", found \'0\'',
        ),
        ({"trace_rate": "-1"}, 'trace_rate: expected a number from "1"'),
        ({"trace_rate": "1.5"}, 'trace_rate: expected a number from "1"'),
        ({"trace_rate": "²"}, 'trace_rate: expected a number from "1"'),
        ({"trace_rate": "1" * 5000}, 'trace_rate: expected a number from "1"'),
        ({"trace_rate": ["1", "2"]}, 'trace_rate: expected a number from "1"'),
        ({"trace_rate": True}, 'trace_rate: expected a number from "1"'),
        ({"trace_count": "-2"}, 'trace_count: expected a number from "-1"'),
        ({"log_frequency": {}}, 'log_frequency: expected a number from "0"'),
        ({"trace_level": []}, 'trace_level: expected ["TIMESTAMPS"] or ["OFF"], found []'),
        ({"trace_level": ["MAX"]}, 'trace_level: expected ["TIMESTAMPS"] or ["OFF"]'),
        ({"trace_level": 1}, 'trace_level: expected ["TIMESTAMPS"] or ["OFF"]'),
        ({"trace_level": ["TENSORS"]}, "trace_level: this server traces TIMESTAMPS"),
        ({"trace_level": ["OFF", "TIMESTAMPS"]}, "trace_level: OFF stands alone"),
        ({"trace_file": "/etc/passwd"}, "trace_file cannot be changed while the server runs"),
        ({"trace_mode": "opentelemetry"}, 'trace_mode: this server offers "triton"'),
    ],
)
def test_what_is_wrong_is_said_and_then_nothing_has_changed(settings, changes, message):
    before = settings.shown("")
    with pytest.raises(Error) as caught:
        settings.change("", {"log_frequency": "9", **changes})
    assert caught.value.http_status == 400
    assert caught.value.message.startswith(message)
    assert settings.shown("") == before


# Triton's clients send back what they were shown.
def test_what_is_shown_may_be_set(settings):
    settings.change("", settings.shown(""))
    settings.change("", dict.fromkeys(settings.shown("")))


def test_without_a_file_nothing_can_be_traced():
    with pytest.raises(Error, match="start the server with --trace-file FILE"):
        TraceSettings("", Effective()).change("", ON)
