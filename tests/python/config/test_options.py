"""Defaults < TOML < environment < flags; a mistake is named where it was made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastserve.config import options as options_module
from fastserve.config.options import Options, build
from fastserve.config.settings import BY_KEY, SETTINGS
from fastserve.errors import Error


@pytest.fixture
def toml(tmp_path):
    """Writes fastserve.toml and gives its path."""

    def write(text):
        path = tmp_path / "fastserve.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def options(flags=None, environment=None, toml_path=None):
    built, warnings = build(flags or {}, environment or {}, toml_path)
    assert not warnings
    return built


def error_of(*args, **kwargs):
    with pytest.raises(Error) as caught:
        options(*args, **kwargs)
    return caught.value.message


def test_without_a_word_the_defaults_hold():
    assert options() == Options()


def test_each_layer_overrides_the_one_below(toml):
    path = toml("port = 1\nthreads = 1\ninstances = 1\n")
    environment = {"FASTSERVE_THREADS": "2", "FASTSERVE_INSTANCES": "2"}
    built = options({"instance_count": 3}, environment, path)
    assert (built.port, built.intra_op_threads, built.instance_count) == (1, 2, 3)
    assert built.host == Options().host


def test_every_setting_has_a_field_of_its_own():
    set_by = [setting.field for setting in BY_KEY.values()]
    assert sorted([*set_by, "paths"]) == sorted(Options.__dataclass_fields__)


# What the help would promise as a default must be accepted as a value.
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.flag)
def test_every_default_can_be_written_down(setting):
    default = getattr(Options(), setting.field)
    if default in ((), None):
        return  # None is said by saying nothing.
    text = f"{default}ns" if setting.field.endswith("_ns") else str(default)
    assert setting.parse(text) == default


def test_defaults_of_models_are_taken_from_the_options():
    defaults = options({"max_batch_size": 7, "queue_depth": 9}).model_defaults
    assert (defaults.max_batch_size, defaults.queue_depth) == (7, 9)
    assert defaults.caller_runs == "auto"


@pytest.mark.parametrize(
    ("flags", "ports"),
    [
        ({}, [8000]),
        ({"grpc_port": 9001}, [8000, 9001]),
        ({"port": 0, "grpc_port": 0, "metrics_port": 0}, [0, 0, 0]),
        ({"triton_ports": True}, [8000, 8001, 8002]),
        ({"triton_ports": True, "grpc_port": 9}, [8000, 9, 8002]),
    ],
)
def test_ports(flags, ports):
    built = options(flags)
    assert [built.port, *built.more_ports] == ports


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"grpc_port": 8000}, "ports 8000, 8000: each of them must be another one"),
        (
            {"grpc_port": 1, "reuse_port": True},
            "--reuse-port shares one port: leave out --grpc-port and --metrics-port",
        ),
    ],
)
def test_ports_that_cannot_be(flags, message):
    with pytest.raises(Error) as caught:
        options(flags)
    assert caught.value.message == message


def test_the_file_takes_each_kind_of_value(toml):
    built = options(
        toml_path=toml(
            'paths = ["a", "/b"]\nmax-body = "1MiB"\nmax_queue_delay = 0.5\n'
            "access-log = true\nport = 9\nname = 'x'\n"
        )
    )
    assert built.body_bytes_max == 1 << 20
    assert built.max_queue_delay_ns == 5 * 10**8
    assert (built.access_log, built.port, built.name) == (True, 9, "x")
    assert built.paths[1] == "/b"


def test_paths_of_the_file_are_relative_to_the_file(toml, tmp_path):
    assert options(toml_path=toml('paths = "models"')).paths == (str(tmp_path / "models"),)


def test_the_environment_names_the_file_and_the_paths(toml):
    environment = {"FASTSERVE_CONFIG": toml("port = 5"), "FASTSERVE_PATHS": "a:b:"}
    built = options(environment=environment)
    assert (built.port, built.paths) == (5, ("a", "b"))


def test_a_byte_order_mark_is_no_part_of_the_file(toml):
    assert options(toml_path=toml("\ufeffport = 5")).port == 5


@pytest.mark.parametrize(
    ("text", "tail"),
    [
        ("\nport = 70000", ":2: port: expected an integer from 0 to 65535, found '70000'"),
        ("port = true", ":1: port: expected an integer from 0 to 65535, found 'true'"),
        ("port = []", ":1: port: expected one value, found a list"),
        ("[port]", ":1: port: expected one value, found a table"),
        ("port = 2020-01-01", ":1: port: expected one value, found a date"),
        ("\n\nprot = 1", ":3: prot: no such option; did you mean 'port'?"),
        ("[limits]\nport = 1", ":1: limits: no such option"),
        ("max-batch = 1\nmax = 1", ":2: max: no such option"),
        ("path = []", ":1: path: no such option; did you mean 'paths'?"),
        ("paths = [1]", ":1: paths: expected a list of paths"),
        ("paths = 1", ":1: paths: expected a list of paths"),
        ("max-batch = 1\nmax_batch = 2", ":2: max_batch: given twice, also as max-batch"),
        ("head-timeout = 0", ":1: head-timeout: expected more than 0, found '0'"),
        ("max-body = 0", ":1: max-body: expected at least 1 byte, found '0'"),
        ("access-log = 'maybe'", ":1: access-log: expected true or false, found 'maybe'"),
        ("caller-runs = 'ever'", ":1: caller-runs: expected auto or never, found 'ever'"),
        ("max-queue-delay = 5000", ":1: max-queue-delay: expected at most 3600 s, found '5000'"),
    ],
)
def test_a_mistake_in_the_file_names_line_option_expected_and_found(toml, text, tail):
    path = toml(text)
    assert error_of(toml_path=path).startswith(path + tail)


# tomllib's own limits are Python's: they come as other exceptions than its own.
@pytest.mark.parametrize(
    "text", ["port = ", "port = " + "9" * 5000, "port = " + "[" * 50_000, "\0"]
)
def test_what_is_no_toml_is_an_error_that_names_the_file(toml, text):
    path = toml(text)
    assert error_of(toml_path=path).startswith(f"{path}: ")


def test_a_file_that_is_not_text_is_named(tmp_path):
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xff\xfe")
    assert error_of(toml_path=str(path)) == f"--config {path}: not UTF-8 text"


def test_a_missing_file_is_named_as_it_was_given():
    assert error_of(toml_path="no.toml") == "--config no.toml: No such file or directory"
    message = error_of(environment={"FASTSERVE_CONFIG": "no.toml"})
    assert message == "FASTSERVE_CONFIG=no.toml: No such file or directory"


def test_a_mistake_in_a_variable_names_the_variable():
    message = error_of(environment={"FASTSERVE_MAX_BODY": "much"})
    assert message.startswith("FASTSERVE_MAX_BODY: expected a size such as 64MiB")
    assert message.endswith("found 'much'")


def test_an_empty_variable_says_nothing():
    assert options(environment={"FASTSERVE_PORT": "", "FASTSERVE_ACCESS_LOG": ""}) == Options()


# For a Service called fastserve, and for one called fastserve-grpc.
@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("FASTSERVE_SERVICE_HOST", "192.0.2.1"),
        ("FASTSERVE_SERVICE_PORT", "8000"),
        ("FASTSERVE_SERVICE_PORT_HTTP", "8000"),
        ("FASTSERVE_PORT", "tcp://192.0.2.1:8000"),
        ("FASTSERVE_PORT", "udp://192.0.2.1:8000"),
        ("FASTSERVE_PORT_8000_TCP", "tcp://192.0.2.1:8000"),
        ("FASTSERVE_PORT_8000_TCP_PROTO", "tcp"),
        ("FASTSERVE_PORT_8000_TCP_ADDR", "192.0.2.1"),
        ("FASTSERVE_GRPC_SERVICE_HOST", "192.0.2.1"),
        ("FASTSERVE_GRPC_PORT", "tcp://192.0.2.1:8000"),
        ("FASTSERVE_GRPC_PORT_8000_TCP_PORT", "8000"),
    ],
)
def test_what_kubernetes_says_about_services_is_ignored(variable, text):
    assert options(environment={variable: text}) == Options()


def test_a_port_that_is_a_number_is_an_option():
    assert options(environment={"FASTSERVE_PORT": "81"}).port == 81


def test_another_option_is_not_taken_for_a_service_link():
    assert options(environment={"FASTSERVE_HOST": "tcp://x"}).host == "tcp://x"


# Other programs may use the prefix, so it is a warning and no error.
def test_an_unknown_variable_is_a_warning_with_a_guess():
    built, warnings = build({}, {"FASTSERVE_PROT": "1", "OTHER": "x"})
    assert built == Options()
    assert warnings == ["FASTSERVE_PROT is not an option; did you mean 'FASTSERVE_PORT'?"]


# The two values may come from two layers: the message names both places.
def test_a_body_larger_than_all_bodies_is_refused(toml):
    path = toml("\nmax-in-flight = '1MiB'")
    message = error_of({"body_bytes_max": 2 << 20}, toml_path=path)
    assert message.startswith(f"{path}:2: max-in-flight is 1048576 bytes, less than --max-body,")
    message = error_of(environment={"FASTSERVE_MAX_BODY": "2GiB"})
    assert message.startswith("--max-in-flight is 1073741824 bytes, less than FASTSERVE_MAX_BODY,")


@given(st.dictionaries(st.sampled_from(sorted(BY_KEY)), st.text(max_size=20), max_size=3))
def test_any_environment_gives_options_or_an_error_that_names_a_variable(said):
    environment = {f"FASTSERVE_{key.upper()}": text for key, text in said.items()}
    message = ""
    try:
        build({}, environment)
    except Error as error:
        message = error.message
    assert not message or "FASTSERVE_" in message


# The limits are the whole server's; a loop's share is rounded up, and takes the largest body.
def test_each_loop_has_its_share_of_the_limits():
    whole = Options(
        loops=3, connections_max=100, in_flight_bytes_max=1000, body_bytes_max=400, queue_depth=7
    )
    share = whole.of_one_loop()
    assert (share.connections_max, share.in_flight_bytes_max) == (34, 400)
    assert share.queue_depth == 7
    assert Options().of_one_loop() == Options()


def test_loops_are_processes_as_long_as_python_has_its_gil():
    assert Options().loops == 1
    assert Options().loop_kind == ("thread" if not options_module._HAS_GIL else "process")
    assert options(environment={"FASTSERVE_LOOPS": "4"}).loops == 4
    assert "expected process or thread" in error_of(environment={"FASTSERVE_LOOP_KIND": "fork"})
    assert "FASTSERVE_LOOPS" in error_of(environment={"FASTSERVE_LOOPS": "0"})


def test_models_to_load_come_from_everywhere_as_a_list(toml):
    explicit = {"model_control": "explicit"}
    path = toml('model-control = "explicit"\nload-model = ["a", "b,c"]\n')
    assert options({}, {}, path).load_models == ("a", "b", "c")
    environment = {"FASTSERVE_LOAD_MODEL": "a, b"}
    assert options(explicit, environment).load_models == ("a", "b")
    with pytest.raises(Error, match=r"FASTSERVE_LOAD_MODEL needs --model-control explicit"):
        options({}, environment)
    with pytest.raises(Error, match="FASTSERVE_LOAD_MODEL: expected names of models"):
        options(explicit, {"FASTSERVE_LOAD_MODEL": "a,,b"})


def test_which_models_are_wanted_at_the_start():
    assert options({}).wants_at_start("m")
    explicit = options({"model_control": "explicit", "load_models": ("a",)})
    assert explicit.wants_at_start("a")
    assert not explicit.wants_at_start("m")
    assert options({"model_control": "explicit", "load_models": ("*",)}).wants_at_start("m")
