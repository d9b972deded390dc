"""The references and the open-loop client, over real sockets.

Clocks and sockets are the subject here: the client's whole point is that it counts from the
intended time of a request.
"""

import asyncio
import contextlib
import shutil
import socket
import sys
import threading
from pathlib import Path

import pytest

from bench.serve import exchange, histogram, load, payload
from bench.serve.processes import Server, ServerError
from bench.serve.references.constant import Constant, request_bytes_of
from tests.proc import needs_own_proc

ROOT = Path(__file__).resolve().parents[2]
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def reference(tmp_path, program, *arguments):
    module = f"bench.serve.references.{program}"
    command = [sys.executable, "-m", module, "{port}", *arguments]
    return Server(program, command, tmp_path, cwd=ROOT)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    if not shutil.which("g++"):
        pytest.skip("no compiler for the open-loop client")
    return load.built_client(tmp_path_factory.mktemp("client"))


def test_the_length_of_a_request_is_known_once_its_head_is():
    assert request_bytes_of(b"GET / HTTP/1.1\r\nHost: a\r\n") == 0
    assert request_bytes_of(b"GET / HTTP/1.1\r\n\r\n") == 18
    assert request_bytes_of(b"POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\nab") == 42


class Written(asyncio.Transport):
    """Stands where the transport stands and keeps what was written."""

    def __init__(self):
        super().__init__()
        self.writes = []
        self.closed = False

    def write(self, data):
        self.writes.append(bytes(data))

    def close(self):
        self.closed = True


def feed(protocol, data, piece_bytes):
    for at in range(0, len(data), piece_bytes):
        piece = data[at : at + piece_bytes]
        protocol.get_buffer(-1)[: len(piece)] = piece
        protocol.buffer_updated(len(piece))


# Whole, byte by byte, and in pieces that end inside head and body.
@pytest.mark.parametrize("piece_bytes", [1, 30, 1000])
def test_the_constant_answers_each_request_once(piece_bytes):
    request = payload.Request("/x", (), b"0123456789").encoded()
    protocol, transport = Constant(RESPONSE), Written()
    protocol.connection_made(transport)
    for answered in range(1, 4):
        feed(protocol, request[:-1], piece_bytes)
        assert len(transport.writes) == answered - 1
        feed(protocol, request[-1:], piece_bytes)
        assert transport.writes == [RESPONSE] * answered


# A request of another length would be answered at the wrong byte from then on.
def test_the_constant_hangs_up_on_a_request_it_did_not_learn():
    request = payload.Request("/x", (), b"0123456789").encoded()
    protocol, transport = Constant(RESPONSE), Written()
    protocol.connection_made(transport)
    feed(protocol, request, 1000)
    feed(protocol, request + b"!", 1000)
    assert transport.closed


# The answer's head is once shorter and once longer than what stood before the request's tensor.
@pytest.mark.parametrize("padding", [0, 3000])
def test_the_stored_body_comes_back_whole(tmp_path, padding):
    tensor = payload.floats(150_528, seed=1)
    head = f"HTTP/1.1 200 OK\r\nX: {'x' * padding}\r\nContent-Length: {len(tensor)}\r\n\r\n"
    (tmp_path / "head").write_text(head, newline="")
    request = payload.Request("/x", (), tensor).encoded()
    arguments = [str(tmp_path / "head"), str(len(tensor))]
    with (
        reference(tmp_path, "stored", *arguments) as server,
        exchange.open_connection(server.port) as connection,
    ):
        for _ in range(3):
            connection.sendall(request)
            assert exchange.read_response(connection).raw == head.encode() + tensor


def test_a_server_that_dies_at_start_says_why(tmp_path):
    server = Server("dead", [sys.executable, "-c", "raise SystemExit('no model')"], tmp_path)
    with pytest.raises(ServerError, match="no model"), server:
        pass


class Scripted:
    """Answers each request, after an optional single stall of the whole server."""

    def __init__(self, answer=RESPONSE, stall_at=None, stall_s=0.0):
        self.answer, self.stall_at, self.stall_s = answer, stall_at, stall_s
        self.requests = 0
        self.turn = threading.Lock()

    def serve(self, connection):
        with connection, contextlib.suppress(ConnectionError):
            received = b""
            while chunk := connection.recv(4096):
                received += chunk
                while received.find(b"\r\n\r\n") >= 0:
                    end = request_bytes_of(received)
                    if len(received) < end:
                        break
                    received = received[end:]
                    with self.turn:
                        self.requests += 1
                        if self.requests == self.stall_at:
                            threading.Event().wait(self.stall_s)
                    connection.sendall(self.answer)

    def accept(self, listener):
        threads = []
        with contextlib.suppress(OSError):  # The listener was shut down: no more connections.
            while True:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threads.append(threading.Thread(target=self.serve, args=[connection]))
                threads[-1].start()
        for thread in threads:
            thread.join()

    @contextlib.contextmanager
    def running(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=self.accept, args=[listener])
            thread.start()
            try:
                yield listener.getsockname()[1]
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                thread.join()


def flood(client, port, scratch, connections=4, rate_per_s=1000.0):
    request = payload.Request("/x", (), b"abcd")
    return load.run_openloop(client, port, request, connections, rate_per_s, 0.5, 1, scratch)


def test_the_client_sends_about_as_much_as_it_was_told(client, tmp_path):
    scripted = Scripted()
    with scripted.running() as port:
        seen = flood(client, port, tmp_path)
    assert seen.completed == scripted.requests
    # 800 are expected in 0.8 s; Poisson's standard deviation is 28.
    assert 650 < seen.completed < 950
    assert sum(seen.histogram.values()) < seen.completed  # The warm-up is not in it.


# The server stands still for 0.2 s, in which 200 requests should have been sent. A closed loop of
# one connection would book one slow request in 500; here two in five waited.
def test_a_stall_is_felt_by_every_request_that_it_delayed(client, tmp_path):
    with Scripted(stall_at=500, stall_s=0.2).running() as port:
        seen = flood(client, port, tmp_path, connections=1)
    slow = sum(count for upper_ns, count in seen.histogram.items() if upper_ns > 20_000_000)
    assert slow > 100
    assert histogram.percentile_ns(seen.histogram, 99) > 100_000_000
    assert seen.queued > 100


def test_answers_that_are_not_2xx_are_refused(client, tmp_path):
    answer = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
    with (
        Scripted(answer).running() as port,
        pytest.raises(load.LoadError, match="were not 2xx"),
    ):
        flood(client, port, tmp_path)


def test_an_answer_longer_than_announced_is_refused(client, tmp_path):
    with (
        Scripted(RESPONSE + b"!").running() as port,
        pytest.raises(load.LoadError, match=r"more bytes than|bytes without a request"),
    ):
        flood(client, port, tmp_path)


# wrk reads the body from a file and announces its length itself.
@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
@needs_own_proc
def test_wrk_sends_the_body_and_the_headers_it_is_given(tmp_path):
    (tmp_path / "response").write_bytes(RESPONSE)
    request = payload.Request("/x", (("X-Kind", "a: b"),), b"\x00\xff" * 500)
    with reference(tmp_path, "constant", str(tmp_path / "response")) as server:
        run = load.run_wrk(server.port, request, 2, 1, tmp_path)
        load.require_size(run, len(RESPONSE), 2)
        assert server.cpu_ticks() > 0
    assert run.requests > 100


def test_every_bucket_edge_is_at_most_two_percent_above_its_values(client, tmp_path):
    with Scripted().running() as port:
        seen = flood(client, port, tmp_path, rate_per_s=2000.0)
    edges = sorted(seen.histogram)
    assert all(edge > 0 for edge in edges)
    for edge in (edge for edge in edges if edge >= 128):
        width = 1 << (edge.bit_length() - 7)
        assert (edge + 1) % width == 0
        assert width / edge < 0.02
