"""gRPC's asyncio server with a handler of raw bytes: what Python costs before it does anything.

    python -m bench.serve.references.grpc_aio PORT RESPONSE_FILE

Every request is answered with the file's content, a message without its prefix.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

PATH = "/inference.GRPCInferenceService/ModelInfer"


class Constant(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, response: bytes) -> None:
        async def answer(_: bytes, __: Any) -> bytes:
            return response

        self._handler = grpc.unary_unary_rpc_method_handler(answer)

    def service(self, details: Any) -> Any:
        return self._handler if details.method == PATH else None


async def main(port: int, response: bytes) -> None:
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((Constant(response),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]).read_bytes()))
