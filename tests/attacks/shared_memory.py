"""A client's shared memory by hand: objects, registrations, and requests that refer to them."""

import json
import mmap
import os
import uuid
from pathlib import Path
from typing import Any, Self

from tests.served import Answer, Server


class Memory:
    """A POSIX shared-memory object, and this process's view of it."""

    def __init__(self, size: int) -> None:
        self.key = f"/fastserve-attack-{uuid.uuid4().hex}"
        self.path = Path("/dev/shm") / self.key[1:]
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.ftruncate(self.fd, size)
        self.map = mmap.mmap(self.fd, size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.map.close()
        os.close(self.fd)
        self.path.unlink(missing_ok=True)


def register(server: Server, name: str, key: str, offset: Any, size: Any) -> Answer:
    body = {"key": key, "offset": offset, "byte_size": size}
    return server.request(
        "POST", f"/v2/systemsharedmemory/region/{name}/register", json.dumps(body).encode()
    )


def unregister(server: Server, name: str = "") -> Answer:
    where = f"/region/{name}" if name else ""
    return server.request("POST", f"/v2/systemsharedmemory{where}/unregister", b"")


def where(region: str, size: int, offset: int = 0) -> dict[str, Any]:
    return {
        "shared_memory_region": region,
        "shared_memory_byte_size": size,
        "shared_memory_offset": offset,
    }


def asked(
    inputs: dict[str, Any] | None = None,
    outputs: dict[str, Any] | None = None,
    elements: int = 4,
    datatype: str = "FP32",
) -> bytes:
    """An inference of identity: parameters of x and of y."""
    x: dict[str, Any] = {"name": "x", "shape": [1, elements], "datatype": datatype}
    x |= {"data": [[0] * elements]} if inputs is None else {"parameters": inputs}
    y: dict[str, Any] = {"name": "y"} | ({"parameters": outputs} if outputs else {})
    return json.dumps({"inputs": [x], "outputs": [y]}).encode()


def infer(server: Server, body: bytes, model: str = "floats") -> Answer:
    return server.request("POST", f"/v2/models/{model}/infer", body)
