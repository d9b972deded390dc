"""KServe's own REST and gRPC clients against a server: run by test_kserve_sdk.py, in the SDK's
environment.

    python kserve_sdk.py HOST:PORT

Prints "right" for each check; an assertion or the SDK's own error ends it.
"""

import asyncio
import sys
from typing import Any

import numpy as np
from kserve import InferInput, InferRequest
from kserve.inference_client import InferenceGRPCClient, InferenceRESTClient, RESTConfig

X = np.arange(8, dtype=np.float32).reshape(2, 4)


def request(datatype: str = "FP32", *, binary: bool = False) -> InferRequest:
    inputs = [InferInput(name=name, shape=[2, 4], datatype=datatype) for name in ("a", "b")]
    for one in inputs:
        one.set_data_from_numpy(X, binary_data=binary)
    return InferRequest(model_name="add_mul", infer_inputs=inputs, request_id="7")


def check(response: Any, kind: str) -> None:
    outputs = {output.name: output.as_numpy() for output in response.outputs}
    np.testing.assert_array_equal(outputs["sum"], X + X)
    np.testing.assert_array_equal(outputs["product"], X * X)
    assert response.model_name == "add_mul"
    assert response.id == "7"
    print("right", kind)


async def rest(address: str) -> None:
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    url = f"http://{address}"
    assert await client.is_server_live(url)
    assert await client.is_server_ready(url)
    assert await client.is_model_ready(url, "add_mul")
    assert not await client.is_model_ready(url, "nope")
    print("right health")
    for binary in (False, True):
        check(
            await client.infer(url, request(binary=binary), model_name="add_mul"),
            f"rest binary={binary}",
        )
    try:
        await client.infer(url, request(), model_name="nope")
        said = "nothing"
    except Exception as error:  # noqa: BLE001 - Whatever the SDK makes of a 404.
        said = str(error)
    assert "404" in said, said
    print("right error")
    await client.close()


async def grpc(address: str) -> None:
    async with InferenceGRPCClient(address) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("add_mul")
        for binary in (False, True):
            check(await client.infer(request(binary=binary)), f"grpc binary={binary}")


def main() -> None:
    asyncio.run(rest(sys.argv[1]))
    asyncio.run(grpc(sys.argv[1]))


if __name__ == "__main__":
    main()
