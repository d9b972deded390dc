"""What a client over shared memory is told, and where the one for C is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fastserve.client.shm import AsyncShmClient, ShmClient
from fastserve.client.shm.__main__ import installed, main, told
from fastserve.client.shm.deadlines import NEVER, give_up_at, left_s, until
from fastserve.client.shm.settings import address_of
from fastserve.errors import Error


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("@fastserve-8000", "@fastserve-8000"),
        ("@any", "@any"),
        ("/run/x.sock", "/run/x.sock"),
        ("./x", "./x"),
        ("../x", "../x"),
        (8080, "@fastserve-8080"),
        ("8080", "@fastserve-8080"),
        ("localhost:8080", "@fastserve-8080"),
        ("127.0.0.1:8080", "@fastserve-8080"),
        ("[::1]:8080", "@fastserve-8080"),
        ("http://localhost:8080", "@fastserve-8080"),
        ("grpc://127.0.0.1:8080/", "@fastserve-8080"),
    ],
)
def test_an_address(address, meant):
    assert address_of(address) == meant
    assert repr(ShmClient(address)) == f"<fastserve.client.shm.ShmClient of {meant}>"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", "expected @name"),
        ("localhost", "expected a port, e.g. localhost:8000"),
        ("x.sock", "on this machine"),
        ("http://example.org:8000", "of another machine's server ask fastserve.client"),
        ("https://localhost:8000", "expected @name"),
        ("http+unix:/run/x", "expected @name"),
        ("localhost:70000", "no number from 1 to 65535"),
        ("localhost:x", "no number from 1 to 65535"),
        (0, "no number from 1 to 65535"),
        ("http://localhost:8000/path", "expected @name"),
    ],
)
def test_what_is_no_address(address, words):
    for kind in (ShmClient, AsyncShmClient):
        with pytest.raises(Error) as caught:
            kind(address)
        assert caught.value.code == "INVALID_ARGUMENT"
        assert words in caught.value.message


@pytest.mark.parametrize(
    "options",
    [{"timeout": 0}, {"segment_bytes": 0}, {"connect_timeout": 0}, {"spin": -1}, {"spin": 2}],
)
def test_numbers_that_cannot_be(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}: expected"):
        ShmClient(**options)


def test_deadlines():
    assert until(None) == until(1e10) == give_up_at(NEVER) == NEVER
    assert 0.9 < left_s(until(1)) <= 1
    assert left_s(0) == 0
    assert give_up_at(5) == 10_000_005


def test_the_library_for_c(tmp_path, capsys):
    package = tmp_path / "a b"
    (package / "include" / "fastserve").mkdir(parents=True)
    (package / "lib").mkdir()
    with pytest.raises(FileNotFoundError):
        told(package, ["libs"])
    (package / "include" / "fastserve" / "shm_client.h").touch()
    (package / "lib" / "libfastserve_shm.so").touch()
    assert told(package, ["cflags", "libs", "include-dir", "lib-dir"]) == [
        f"-I'{package}/include'",
        f"-L'{package}/lib' -Wl,-rpath,'{package}/lib' -lfastserve_shm",
        f"{package}/include",
        f"{package}/lib",
    ]
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "expected --cflags" in capsys.readouterr().err


def test_the_installed_library_is_told():
    done = subprocess.run(
        [sys.executable, "-m", "fastserve.client.shm", "--include-dir"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{installed()}/include\n"
    assert done.stderr == ""
