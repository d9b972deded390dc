"""Options are those of the command line, said in Python."""

import typing
from pathlib import Path

import numpy as np
import pytest

import fastserve
from fastserve.config.options import Options
from fastserve.config.settings import BY_KEY
from fastserve.embed.settings import (
    MODEL_KEYS,
    SERVER_KEYS,
    ModelSettings,
    ServerSettings,
    in_python,
    listen_options,
    model_defaults,
    server_options,
)
from fastserve.errors import Error


# The table in config/options.py is the truth; the typed dictionaries must not fall behind it.
def test_editors_and_mypy_know_every_option():
    assert set(ServerSettings.__annotations__) == set(SERVER_KEYS)
    assert set(ModelSettings.__annotations__) == set(MODEL_KEYS)
    assert typing.get_type_hints(ServerSettings).keys() == set(SERVER_KEYS)


def test_only_logs_and_processes_are_left_to_the_command():
    of_the_command = {"log_format", "log_level", "name"}
    of_the_command |= {"loops", "loop_kind", "reuse_port", "debug_endpoint"}
    of_the_command |= {"trace_file", "trace_level", "trace_rate", "max_trace_bytes"}
    of_the_command |= {"grpc_port", "metrics_port", "triton_ports"}
    of_the_command |= {"shared_memory", "max_shared_regions"}
    of_the_command |= {"shm_socket", "max_shm_clients", "max_shm_bytes", "shm_spin"}
    of_the_command |= {"model_control", "load_model", "poll_interval", "transition", "state_file"}
    assert set(BY_KEY) - set(SERVER_KEYS) <= of_the_command
    assert not set(SERVER_KEYS) & of_the_command


def test_without_options_the_defaults_are_the_command_line_s():
    assert server_options({}) == Options()


@pytest.mark.parametrize(
    ("key", "value", "field", "read"),
    [
        ("max_batch", 8, "max_batch_size", 8),
        ("max_batch", np.int32(8), "max_batch_size", 8),
        ("max_batch", 8.0, "max_batch_size", 8),
        ("max_queue_delay", "2ms", "max_queue_delay_ns", 2_000_000),
        ("max_queue_delay", 1e-5, "max_queue_delay_ns", 10_000),
        ("max_queue_delay", 0, "max_queue_delay_ns", 0),
        ("drain_timeout", 1.5, "drain_timeout_ns", 1_500_000_000),
        ("max_body", "1MiB", "body_bytes_max", 1 << 20),
        ("access_log", True, "access_log", True),
        ("caller_runs", "never", "caller_runs", "never"),
        ("cors_origins", "https://a.example, *", "cors_origins", ("https://a.example", "*")),
        ("unix_socket", Path("a") / "b", "unix_socket", "a/b"),
    ],
)
def test_values_may_be_python_s(key, value, field, read):
    assert getattr(server_options({key: value}), field) == read


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("max_batch", 0, "max_batch: expected an integer from 1 to 65536, found '0'"),
        ("max_batch", True, "max_batch: expected an integer"),
        ("max_batch", 1.5, "found '1.5'"),
        ("max_queue_delay", float("nan"), "max_queue_delay: expected a duration"),
        ("max_queue_delay", -1, "found '-1'"),
        ("caller_runs", "always", "expected auto or never"),
        ("max_batch", [8], "max_batch: expected one value, found a list"),
        ("max_batch", None, "found a NoneType"),
    ],
)
def test_a_wrong_value_is_named(key, value, says):
    with pytest.raises(Error, match=says) as caught:
        server_options({key: value})
    assert caught.value.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("max_bach", "has no option 'max_bach'; did you mean 'max_batch'"),
        ("max_batch_size", "did you mean 'max_batch'"),
        ("name", "say it to load"),
        ("log_level", "the program configures the logger"),
        ("zzz", "fastserve.Server.. has no option 'zzz'$"),
    ],
)
def test_an_option_that_does_not_exist_is_a_type_error_with_a_guess(key, says):
    with pytest.raises(TypeError, match=says):
        server_options({key: 1})


def test_options_that_contradict_each_other_are_named_as_in_python():
    with pytest.raises(Error, match=r"^max_in_flight is 10 bytes, less than max_body, which is"):
        server_options({"max_in_flight": 10})


def test_load_overrides_what_the_server_was_told():
    options = server_options({"max_batch": 8, "instances": 2})
    defaults = model_defaults(options, {"max_batch": 4})
    assert (defaults.max_batch_size, defaults.instance_count) == (4, 2)


def test_load_takes_options_of_models_only():
    with pytest.raises(TypeError, match=r"load\(\) has no option 'port'"):
        model_defaults(Options(), {"port": 1})


def test_listen_falls_back_on_what_the_server_was_told():
    options = listen_options(server_options({"port": 9000}), {"host": "::1", "port": None})
    assert (options.host, options.port) == ("::1", 9000)


def test_flags_in_a_message_become_arguments():
    error = in_python(Error("ALREADY_EXISTS", "use --port, or --port 0; not --unix-socket /a-b"))
    assert error.message == "use port, or port 0; not unix_socket /a-b"
    assert error.code == "ALREADY_EXISTS"


# A program's environment is not the server's: FASTSERVE_* belongs to the command.
def test_the_environment_says_nothing(monkeypatch):
    monkeypatch.setenv("FASTSERVE_MAX_BATCH", "nonsense")
    with fastserve.Server() as server:
        assert server.models == {}
