"""What these tests share: a real server, clients of every kind, and servers with a script."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from fastserve.client import AsyncClient, Client
from tests.served import HOST, Repository, Server

LIMIT_S = 20.0
MANY = 50
DATATYPES = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16",
    "FP32", "FP64", "BF16",
)  # fmt: skip


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = Repository(tmp_path_factory.mktemp("client") / "models")
    models.add("add_mul")
    for datatype in DATATYPES:
        models.add_identity(datatype, datatype=datatype)
    models.add_identity("strings", datatype="STRING")
    models.add_identity("slow", delay_us=300_000)
    for name, count in (("many", MANY), ("none", 0)):
        models.add_identity(
            name,
            more=f"""
                parameters {{ key: "repeat" value {{ string_value: "{count}" }} }}
                model_transaction_policy {{ decoupled: true }}
            """,
        )
    unix = tmp_path_factory.mktemp("unix") / "s"
    with Server(models.path, "--unix-socket", str(unix)) as running:
        running.unix = unix  # type: ignore[attr-defined]
        yield running


class OnLoop:
    """An AsyncClient to be called like a Client: on a loop of its own, in another thread."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._client = self._run(self._made(*arguments, **options))

    async def _made(self, *arguments: Any, **options: Any) -> AsyncClient:
        return AsyncClient(*arguments, **options)

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(LIMIT_S)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *arguments, **options: self._run(method(*arguments, **options))

    def stream(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        async def gathered() -> list[Any]:
            return [one async for one in self._client.stream(*arguments, **options)]

        return iter(self._run(gathered()))

    def close(self) -> None:
        async def end() -> None:
            await self._client.close()
            await asyncio.sleep(0)  # Transports close in the next iteration.

        self._run(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT_S)
        self._loop.close()


KINDS: dict[str, Callable[..., Any]] = {"blocking": Client, "asyncio": OnLoop}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return KINDS[request.param]


@pytest.fixture(params=["http", "grpc"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(kind: Callable[..., Any], scheme: str, server: Server) -> Iterator[Any]:
    with closing(kind(f"{scheme}://{server.address}", timeout=LIMIT_S)) as made:
        yield made


class Scripted:
    """A server that answers each request with what the script says next; b"" closes the connection
    instead. What it was asked is in `requests`."""

    def __init__(self, answers: Sequence[bytes], tls: ssl.SSLContext | None = None) -> None:
        self._answers = iter(answers)
        self._tls = tls
        self.requests: list[bytes] = []
        self._listener = socket.create_server((HOST, 0))
        self._listener.settimeout(LIMIT_S)
        self.address = f"{HOST}:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        for connection in self._open:
            with suppress(OSError):  # It has ended already.
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join(LIMIT_S)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(LIMIT_S)
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=[connection])
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while request := _read_request(connection):
                self.requests.append(request)
                answer = next(self._answers, b"")
                if not answer:
                    break
                connection.sendall(answer)
        except OSError:
            return
        finally:
            connection.close()


def _read_request(connection: socket.socket) -> bytes:
    """One of HTTP/1.1, or whatever a client of HTTP/2 says first."""
    read = b""
    while b"\r\n\r\n" not in read:
        if not (more := connection.recv(1 << 16)):
            return read
        read += more
    head, _, body = read.partition(b"\r\n\r\n")
    lengths = [
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    ]
    while lengths and len(body) < lengths[0]:
        body += connection.recv(1 << 16)
    return head + b"\r\n\r\n" + body


def answer(status: int, body: bytes = b"{}", *fields: str) -> bytes:
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(head).encode() + body


INFERRED = (
    b'{"model_name":"m","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[1],'
    b'"data":[1.5]}]}'
)

HERE = Path(__file__).parent
