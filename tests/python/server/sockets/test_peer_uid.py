import os
import socket
from pathlib import Path

import pytest

from fastserve.server.sockets.peer_uid import uid_of_address

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  inode\n"
REST = "00000000:00000000 00:00000000 00000000 "


def table(folder: Path, name: str, *lines: str) -> None:
    shown = (f"   {i}: {line}\n" for i, line in enumerate(lines))
    (folder / name).write_text(HEAD + "".join(shown))


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_real_connection_is_its_users(family):
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip("no IPv6 here")
    with listener, socket.create_connection(listener.getsockname()[:2]) as client:
        accepted, _ = listener.accept()
        with accepted:
            host, port = client.getsockname()[:2]
            assert uid_of_address(f"{host}:{port}") == os.getuid()


def test_an_ipv4_client_of_a_socket_for_both_is_found():
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, (host, peer_port, *_) = listener.accept()
            with accepted:
                assert host == "::ffff:127.0.0.1"
                assert uid_of_address(f"{host}:{peer_port}") == os.getuid()


def test_it_is_the_connection_of_that_address(tmp_path):
    table(
        tmp_path,
        "tcp",
        f"0100007F:1F40 0100007F:9C40 01 {REST} 7 0 1",
        f"0100007F:9C40 0100007F:1F40 01 {REST} 1000 0 2",
        f"0100007F:9C41 0100007F:1F40 06 {REST} 3 0 3",
        f"0200007F:9C40 0100007F:1F40 01 {REST} 4 0 4",
    )
    assert uid_of_address("127.0.0.1:40000", tmp_path) == 1000
    assert uid_of_address("127.0.0.2:40000", tmp_path) == 4
    assert uid_of_address("127.0.0.1:40001", tmp_path) == -1, "it is closed"
    assert uid_of_address("127.0.0.1:40002", tmp_path) == -1


@pytest.mark.parametrize(
    "peer", ["", "unix", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "example.org:1", ":1"]
)
def test_what_is_no_address_is_nobodys(peer):
    assert uid_of_address(peer) == -1


def test_tables_that_cannot_be_read_say_nothing(tmp_path):
    assert uid_of_address("127.0.0.1:1", tmp_path) == -1
    (tmp_path / "tcp").write_bytes(HEAD.encode() + b"\xff\n")
    (tmp_path / "tcp6").write_text("")
    assert uid_of_address("127.0.0.1:1", tmp_path) == -1
    table(tmp_path, "tcp", "0100007F:0001", f"0100007F:0001 0100007F:0002 01 {REST} x 0 1")
    assert uid_of_address("127.0.0.1:1", tmp_path) == -1
