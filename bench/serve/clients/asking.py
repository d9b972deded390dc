"""One client in one thread, one call after the other: what a call costs the client's process.

    python -m bench.serve.clients.asking KIND HOST:PORT MODEL SHAPE SECONDS

SHAPE is 16, or 1x16. KIND is a key of KINDS; those over shared memory find the server by its port.
Prints a line of JSON: {"requests": n, "cpu_s": c, "wall_s": w}. The answer is checked before the
clock runs. "light" is no client: it sends the bytes of a request made beforehand, and reads as many
as the answer has.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable

import numpy as np

from bench.serve import payload

WARM_UP = 200
ROUND = 50
Ask = Callable[[], object]


def ours(scheme: str) -> Callable[[str, str, np.ndarray], Ask]:
    def make(address: str, model: str, data: np.ndarray) -> Ask:
        from fastserve.client import Client

        client = Client(f"{scheme}://{address}")
        return lambda: client.infer(model, {"INPUT0": data})["OUTPUT0"]

    return make


def tritons(module: str) -> Callable[[str, str, np.ndarray], Ask]:
    def make(address: str, model: str, data: np.ndarray) -> Ask:
        from importlib import import_module

        triton = import_module(f"tritonclient.{module}")
        client = triton.InferenceServerClient(address)

        def ask() -> object:
            given = triton.InferInput("INPUT0", list(data.shape), "FP32")
            given.set_data_from_numpy(data)
            return client.infer(model, [given]).as_numpy("OUTPUT0")

        return ask

    return make


def native(address: str, model: str, data: np.ndarray) -> Ask:
    """Over shared memory: the tensor is copied there for each call."""
    from fastserve.client.shm import ShmClient

    client = ShmClient(address)
    return lambda: client.infer(model, {"INPUT0": data})["OUTPUT0"]


def in_place(address: str, model: str, data: np.ndarray) -> Ask:
    """The tensor lies in shared memory, and is sent again and again."""
    from fastserve.client.shm import ShmClient

    client = ShmClient(address)
    request = client.request(model)
    request.inputs["INPUT0"][:] = data

    def ask() -> object:
        # It ends with its client.
        assert client.is_connected
        return request.result()["OUTPUT0"]

    return ask


def light(address: str, model: str, data: np.ndarray) -> Ask:
    host, _, port = address.partition(":")
    connection = socket.create_connection((host, int(port)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = payload.binary_request(model, "INPUT0", list(data.shape), data.tobytes()).encoded()
    connection.sendall(request)
    first = connection.recv(1 << 20)
    head, _, body = first.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    missing = int(fields[b"content-length"]) - len(body)
    size = len(first) + missing
    while missing:
        missing -= len(connection.recv(missing))
    buffer = bytearray(size)
    view = memoryview(buffer)

    def ask() -> object:
        connection.sendall(request)
        received = 0
        while received < size:
            received += connection.recv_into(view[received:])
        return np.frombuffer(buffer[size - data.nbytes :], data.dtype)

    return ask


KINDS: dict[str, Callable[[str, str, np.ndarray], Ask]] = {
    "http": ours("http"),
    "grpc": ours("grpc"),
    "tritonclient.http": tritons("http"),
    "tritonclient.grpc": tritons("grpc"),
    "light": light,
    "shared memory": native,
    "shared memory, in place": in_place,
}


def main(kind: str, address: str, model: str, shape_text: str, seconds: str) -> int:
    shape = [int(length) for length in shape_text.split("x")]
    data = np.random.default_rng(1).random(shape, dtype=np.float32)
    ask = KINDS[kind](address, model, data)
    if not np.array_equal(np.asarray(ask()), data):
        sys.exit(f"{kind}: the answer is not what was sent")
    for _ in range(WARM_UP):
        ask()
    requests, cpu_s, began_s = 0, time.process_time(), time.monotonic()
    while time.monotonic() - began_s < float(seconds):
        for _ in range(ROUND):
            ask()
        requests += ROUND
    found = {
        "requests": requests,
        "cpu_s": time.process_time() - cpu_s,
        "wall_s": time.monotonic() - began_s,
    }
    print(json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
