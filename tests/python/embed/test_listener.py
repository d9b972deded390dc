"""The same models over HTTP, on a thread of their own or on the program's event loop."""

import asyncio
import contextlib
import http.client
import logging
import resource
import signal
import socket
import sys
import threading

import pytest

import fastserve
from fastserve.errors import Error


def serves(ask, listener, echo_body):
    """Whether it answers an inference."""
    reply = ask(listener, "/v2/models/echo/infer", echo_body)
    return reply.status == 200 and reply.json["outputs"][0]["data"] == [1.5, -2.0]


def test_a_listener_serves_the_models(server, repository, ask, echo_body, loop_of_listeners):
    server.load(repository())
    with server.listen(port=0) as listener:
        assert listener.url == f"http://127.0.0.1:{listener.port}"
        assert ask(listener, "/v2/health/ready").status == 200
        assert serves(ask, listener, echo_body)
        assert ask(listener, "/v2/models/echo").json["versions"] == ["1"]
        assert b"fastserve_requests_total" in ask(listener, "/metrics").body
        assert repr(listener) == f"<fastserve.Listener {listener.url}>"
    assert not listener.is_open
    assert repr(listener).endswith(", closed>")
    with pytest.raises(ConnectionRefusedError):
        ask(listener, "/")


def test_models_come_and_go_while_it_listens(server, repository, ask, echo_body):
    with server.listen(port=0) as listener:
        assert ask(listener, "/v2/models/echo/infer", echo_body).status == 404
        model = server.load(repository())
        assert serves(ask, listener, echo_body)
        model.unload()
        assert ask(listener, "/v2/models/echo/infer", echo_body).status == 404
        assert ask(listener, "/v2/health/ready").status == 200


def test_several_listeners_serve_at_once(server, repository, ask, echo_body):
    server.load(repository())
    with server.listen(port=0) as one, server.listen(port=0) as other:
        assert one.port != other.port
        assert serves(ask, one, echo_body)
        one.close()
        assert serves(ask, other, echo_body)


def test_a_listener_serves_on_the_running_loop(server, repository, ask, echo_body, run_async):
    server.load(repository())

    async def main():
        async with await server.alisten(port=0) as listener:
            assert listener.is_open
            return await asyncio.to_thread(serves, ask, listener, echo_body)

    assert run_async(main())


# As in a notebook, where a loop runs in the main thread all the time.
def test_listen_works_inside_a_running_loop(server, repository, ask, echo_body, run_async):
    server.load(repository())

    async def main():
        listener = server.listen(port=0)
        answered = await asyncio.to_thread(serves, ask, listener, echo_body)
        await listener.aclose()
        return answered, listener.is_open

    assert run_async(main()) == (True, False)


def test_a_unix_socket_is_served_as_well_and_removed(server, repository, tmp_path):
    server.load(repository())
    path = tmp_path / "socket"
    with server.listen(port=0, unix_socket=path) as listener:
        assert listener.unix_socket == str(path)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"
    assert not path.exists()


def test_what_listen_is_not_told_the_server_was(ask):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with fastserve.Server(port=port) as server:
            with pytest.raises(Error, match=f"{port} is in use; choose another with port") as told:
                server.listen()
            assert told.value.code == "ALREADY_EXISTS"
            with server.listen(port=0) as listener:
                assert ask(listener, "/v2/health/live").status == 200


def test_an_address_that_is_none_is_refused(server):
    with pytest.raises(Error, match=r"^host 256\.0\.0\.1: no such address"):
        server.listen("256.0.0.1", 0)
    with pytest.raises(Error, match=r"^port: expected an integer from 0 to 65535"):
        server.listen(port=70_000)


# -- The end -------------------------------------------------------------------------------------


def in_flight(server, ask, listener, echo_body):
    """A request that is under way, and what it will have been answered with."""
    replies: list[int] = []

    def request():
        replies.append(ask(listener, "/v2/models/echo/infer", echo_body).status)

    thread = threading.Thread(target=request)
    thread.start()
    while ask(listener, "/metrics").body.find(b"fastserve_in_flight_requests 2.0") < 0:
        pass  # The scrape itself is one of them.
    return thread, replies


@pytest.mark.parametrize("close", ["server", "listener"])
def test_closing_lets_requests_finish(repository, ask, echo_body, close, loop_of_listeners):
    with fastserve.Server() as server:
        server.load(repository(delay_us=200_000))
        listener = server.listen(port=0)
        thread, replies = in_flight(server, ask, listener, echo_body)
        (server if close == "server" else listener).close()
        assert not listener.is_open
        thread.join()
        assert replies == [200]


def test_closing_a_server_drains_a_listener_on_the_running_loop(
    repository, ask, echo_body, run_async
):
    async def main():
        async with fastserve.Server() as server:
            server.load(repository(delay_us=200_000))
            listener = await server.alisten(port=0)
            thread, replies = await asyncio.to_thread(in_flight, server, ask, listener, echo_body)
        assert not listener.is_open
        await asyncio.to_thread(thread.join)
        return replies

    assert run_async(main()) == [200]


# Nothing can be waited for on the loop that would have to do it: it goes on after the return.
def test_close_on_the_loop_of_a_listener_returns_and_it_ends(server, run_async):
    async def main():
        listener = await server.alisten(port=0)
        listener.close()
        await listener.aclose()
        return listener.is_open

    assert not run_async(main())


def test_close_from_another_thread_drains_a_listener_of_a_running_loop(server, ask, run_async):
    async def main():
        listener = await server.alisten(port=0)
        await asyncio.to_thread(listener.close)
        return listener.is_open

    assert not run_async(main())


# asyncio.run() ended, and somebody closes afterwards. (uvloop warns, rightly; made an error, that
# keeps it waiting for ever for the handle that it could not close.)
@pytest.mark.filterwarnings("ignore:unclosed resource:ResourceWarning")
def test_closing_after_the_loop_has_ended_does_not_hang(run_async):
    server = fastserve.Server()

    async def main():
        return await server.alisten(port=0)

    listener = run_async(main())
    server.close()
    assert not listener.is_open


def test_a_client_that_stays_is_cut_off_after_the_drain_timeout(loop_of_listeners):
    with fastserve.Server(drain_timeout=0.05) as server:
        listener = server.listen(port=0)
        with socket.create_connection(("127.0.0.1", listener.port)) as client:
            client.sendall(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n")
            server.close()
            client.settimeout(60)
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(100) == b""


def test_without_draining_requests_are_cut_off(repository, ask, echo_body, loop_of_listeners):
    with fastserve.Server() as server:
        server.load(repository(delay_us=100_000))
        listener = server.listen(port=0)
        with socket.create_connection(("127.0.0.1", listener.port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"
            listener.close(drain=False)


# -- What belongs to the program -----------------------------------------------------------------


def test_nothing_of_the_program_is_touched(repository, ask, echo_body, run_async):
    def state():
        root = logging.getLogger()
        return (
            sys.getswitchinterval(),
            resource.getrlimit(resource.RLIMIT_NOFILE),
            [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
            (root.level, list(root.handlers), logging.getLogger("fastserve").level),
            threading.active_count(),
        )

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))  # So low that a server would raise it.
    before = state()

    async def main():
        inside = state()  # A runner handles SIGINT.
        async with await server.alisten(port=0):
            assert state() == inside

    with fastserve.Server() as server:
        server.load(repository())
        with server.listen(port=0) as listener:
            assert serves(ask, listener, echo_body)
            assert state()[:4] == before[:4]
        run_async(main())
    assert state() == before


def test_the_library_s_logger_says_nothing_by_itself():
    handlers = logging.getLogger("fastserve").handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)


def test_an_access_log_goes_to_the_program_s_logging(repository, ask, echo_body, caplog):
    with fastserve.Server(access_log=True) as server:
        server.load(repository())
        with server.listen(port=0) as listener:
            assert serves(ask, listener, echo_body)
    assert any("POST /v2/models/echo/infer 200" in r.getMessage() for r in caplog.records)


# What is logged and traced is the program's affair; which pages may read answers is an option.
def test_pages_are_allowed_and_settings_are_not_there(repository, ask):
    with (
        fastserve.Server(cors_origins="https://a.example") as server,
        server.listen(port=0) as listener,
        contextlib.closing(http.client.HTTPConnection("127.0.0.1", listener.port)) as connection,
    ):
        server.load(repository())
        asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
        connection.request("OPTIONS", "/v2/models/echo/infer", headers=asked)
        leave = connection.getresponse()
        assert leave.headers["Access-Control-Allow-Origin"] == "https://a.example"
        assert leave.headers["Access-Control-Allow-Methods"] == "POST"
        document = ask(listener, "/v2/openapi.json").json
        assert "/v2/models/echo/infer" in document["paths"]
        for path in ("/v2/logging", "/v2/trace/setting", "/debug"):
            assert path not in document["paths"]
            assert ask(listener, path).status == 404
