"""Sockets: what is taken is told, what is stale is replaced."""

from __future__ import annotations

import socket
import stat

import pytest

from fastserve.errors import Error
from fastserve.server.sockets import listen


def test_port_0_takes_a_free_one():
    with listen.bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        assert port > 0
        assert listen.url_of(sock) == f"http://127.0.0.1:{port}"


def test_a_taken_port_is_told_with_the_way_out():
    with listen.bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(Error) as caught:
            listen.bind("127.0.0.1", port)
    assert caught.value.message.startswith(
        f"127.0.0.1:{port} is in use; choose another with --port"
    )


def test_an_address_of_another_machine_is_told():
    with pytest.raises(Error, match=r"--host 192\.0\.2\.1: not an address of this machine"):
        listen.bind("192.0.2.1", 0)  # Kept for documentation by RFC 5737.


def test_all_addresses_are_shown_as_one_that_works():
    with listen.bind("0.0.0.0", 0) as sock:
        assert listen.url_of(sock).startswith("http://127.0.0.1:")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_all_addresses_of_ipv6_are_those_of_ipv4_too():
    with listen.bind("::", 0) as sock:
        port = sock.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
        assert listen.url_of(sock) == f"http://[::1]:{port}"


def test_a_unix_socket_is_for_its_user_alone(tmp_path):
    path = tmp_path / "s"
    with listen.bind_unix(str(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_stale_unix_socket_is_replaced(tmp_path):
    path = tmp_path / "s"
    listen.bind_unix(str(path)).close()
    assert path.exists()
    with listen.bind_unix(str(path)), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_living_unix_socket_is_left_alone(tmp_path):
    path = tmp_path / "s"
    with listen.bind_unix(str(path)) as sock:
        with pytest.raises(Error, match="another server listens on it"):
            listen.bind_unix(str(path))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        sock.accept()[0].close()


def test_a_file_that_is_no_socket_is_never_removed(tmp_path):
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(Error, match="a file that is no socket is in the way"):
        listen.bind_unix(str(path))
    assert path.read_text() == "precious"


def test_a_path_that_is_too_long_is_told(tmp_path):
    with pytest.raises(Error, match=r"--unix-socket /x+: "):
        listen.bind_unix("/" + "x" * 200)


def test_each_loop_has_a_socket_of_one_port():
    sockets = listen.bind_loops("127.0.0.1", 0, 3)
    try:
        assert len({sock.getsockname() for sock in sockets}) == 1
        assert len({sock.fileno() for sock in sockets}) == 3
    finally:
        for sock in sockets:
            sock.close()


# Sockets that share a port would share it with another program of this user, too.
def test_loops_do_not_share_the_port_of_another_program():
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = other.getsockname()[1]
        assert not listen.is_free("127.0.0.1", port)
        with pytest.raises(Error, match=f"127.0.0.1:{port} is in use"):
            listen.bind_loops("127.0.0.1", port, 2)
    assert listen.is_free("127.0.0.1", port)


@pytest.mark.parametrize(("sockets", "loops"), [(1, 1), (1, 3), (3, 1), (3, 2), (2, 5), (4, 4)])
def test_no_socket_is_without_a_loop_and_no_loop_without_a_socket(sockets, loops):
    bound = [listen.bind("127.0.0.1", 0) for _ in range(sockets)]
    try:
        shares = [listen.of_loop(bound, number, loops) for number in range(loops)]
        assert all(shares)
        assert {sock for share in shares for sock in share} == set(bound)
    finally:
        for sock in bound:
            sock.close()


def test_a_name_is_resolved_to_what_a_socket_shows():
    with listen.bind("localhost", 0) as sock:
        port = sock.getsockname()[1]
        assert listen.resolve("localhost", port) == sock.getsockname()[:2]
    with pytest.raises(Error, match="no such address"):
        listen.resolve("no.such.host.invalid", 1)
