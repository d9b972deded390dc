"""--shm-socket and its limits: what they take, and what does not go together."""

import pytest

from fastserve.config.options import Options, build
from fastserve.config.settings import BY_KEY
from fastserve.errors import Error


def options(environment):
    return build({}, {f"FASTSERVE_{key.upper()}": text for key, text in environment.items()})[0]


def error_of(environment):
    with pytest.raises(Error) as caught:
        options(environment)
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("auto", "auto"),
        ("OFF", "off"),
        ("@a", "@a"),
        ("@grüße / 1", "@grüße / 1"),
        ("./shm", "./shm"),
        ("/run/fastserve/shm.sock", "/run/fastserve/shm.sock"),
        ("@" + "x" * 106, "@" + "x" * 106),
    ],
)
def test_an_address_is_a_name_or_a_path(text, read):
    assert options({"shm_socket": text}).shm_socket == read


# Such as "of": it must not become a file of that name.
@pytest.mark.parametrize("text", ["of", "@", "fastserve", "/a\0b", "@a\nb", "/\udcff"])
def test_what_is_no_address_is_said(text):
    assert error_of({"shm_socket": text}).startswith(
        "FASTSERVE_SHM_SOCKET: expected auto, off, @NAME or a path such as"
    )


@pytest.mark.parametrize("text", ["@" + "x" * 107, "/" + "ü" * 54])
def test_an_address_is_no_longer_than_the_system_s(text):
    assert "expected at most 107 bytes, found 10" in error_of({"shm_socket": text})


@pytest.mark.parametrize(
    ("key", "text", "tail"),
    [
        ("max_shm_clients", "0", "expected an integer from 1 to 1024, found '0'"),
        ("max_shm_clients", "1025", "expected an integer from 1 to 1024, found '1025'"),
        ("max_shm_bytes", "511KiB", "expected a size from 512KiB to 64GiB, found '511KiB'"),
        ("max_shm_bytes", "65GiB", "expected a size from 512KiB to 64GiB, found '65GiB'"),
        ("max_shm_bytes", "much", "expected a size such as 64MiB, 500kB or 1048576, found 'much'"),
        ("shm_spin", "50", "expected at most 10 ms, found '50' (a bare number is seconds)"),
    ],
)
def test_the_limits_have_limits(key, text, tail):
    assert error_of({key: text}) == f"FASTSERVE_{key.upper()}: {tail}"


def test_looking_can_be_turned_off():
    assert options({"shm_spin": "0"}).shm_spin_ns == 0
    assert Options().shm_spin_ns == 50_000


def test_the_limits_may_be_the_core_s():
    assert BY_KEY["max_shm_bytes"].parse("64GiB") == 64 << 30
    assert BY_KEY["max_shm_bytes"].parse("512KiB") == 512 << 10
    assert BY_KEY["max_shm_clients"].parse("1024") == 1024


def test_an_address_contradicts_shared_memory_that_is_off():
    assert options({"shared_memory": "off", "shm_socket": "auto"}).shm_socket == "auto"
    assert options({"shared_memory": "off", "shm_socket": "off"}).shm_socket == "off"
    message = error_of({"shared_memory": "off", "shm_socket": "@a"})
    assert message.startswith(
        "FASTSERVE_SHM_SOCKET is @a, and FASTSERVE_SHARED_MEMORY is off: turn it on, or"
    )


def test_models_in_other_processes_have_no_address():
    processes = {"loops": "2", "loop_kind": "process"}
    assert options(processes).has_processes
    assert not options({"loops": "2", "loop_kind": "thread", "shm_socket": "@a"}).has_processes
    assert not options({"loop_kind": "process", "shm_socket": "@a"}).has_processes
    message = error_of({**processes, "shm_socket": "@a"})
    assert message.startswith("FASTSERVE_SHM_SOCKET is @a, and with --loops 2 the models are in")
    assert message.endswith("choose --loop-kind thread, --loops 1 or --shm-socket off")
