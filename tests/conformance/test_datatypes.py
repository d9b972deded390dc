"""Every datatype, as JSON and as binary, in and out, through tritonclient and by hand."""

import asyncio
from typing import Any

import numpy as np
import pytest
import tritonclient.http
import tritonclient.http.aio

from tests import kserve

FORMS = [(True, True), (True, False), (False, True), (False, False)]
NOT_IN_JSON = ("FP16", "BF16")


def sample(datatype: str) -> Any:
    """Two rows of three elements, the type's extremes among them."""
    if datatype == "BOOL":
        return np.array([[True, False, True], [False, False, True]])
    if datatype == "BYTES":
        texts = [[b"", b"plain", "grüße \u4f60\u597d".encode()], [b'"\\/\n\t', b"\x00\x1f", b"0"]]
        return np.array(texts, np.object_)
    dtype = kserve.DTYPES[datatype]
    limits: Any = np.finfo(dtype) if datatype.startswith("FP") else np.iinfo(dtype)
    return np.array([[limits.min, 0, limits.max], [1, 2, 100]], dtype)


DATATYPES = [*kserve.DTYPES]
# Releases of tritonclient differ in which arrays they take for BF16: it goes by hand, below.
THROUGH_TRITONCLIENT = [datatype for datatype in DATATYPES if datatype != "BF16"]


def ask(module, datatype, binary_in, binary_out):
    """Input and requested output of one request."""
    data = sample(datatype)
    tensor = module.InferInput("x", data.shape, datatype)
    tensor.set_data_from_numpy(data, binary_data=binary_in)
    return tensor, module.InferRequestedOutput("y", binary_data=binary_out)


def fits(datatype, binary_in, binary_out):
    return (binary_in and binary_out) or datatype not in NOT_IN_JSON


CASES = [(t, i, o) for t in THROUGH_TRITONCLIENT for i, o in FORMS if fits(t, i, o)]


@pytest.mark.parametrize(("datatype", "binary_in", "binary_out"), CASES)
def test_every_datatype_comes_back(client, datatype, binary_in, binary_out):
    tensor, output = ask(tritonclient.http, datatype, binary_in, binary_out)
    answer = client.infer(f"identity_{datatype.lower()}", [tensor], outputs=[output])
    described = answer.get_output("y")
    assert described["datatype"] == datatype
    assert described["shape"] == [2, 3]
    assert ("data" in described) is not binary_out
    np.testing.assert_array_equal(answer.as_numpy("y"), text_if_json(datatype, binary_out))


def text_if_json(datatype, binary_out):
    """What tritonclient makes of the answer: JSON's strings stay text."""
    data = sample(datatype)
    if datatype != "BYTES" or binary_out:
        return data
    return np.array([[item.decode() for item in row] for row in data], np.object_)


def test_every_datatype_comes_back_to_the_asyncio_client(server):
    async def ask_all() -> None:
        async with tritonclient.http.aio.InferenceServerClient(server.address) as client:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready("identity_fp32")
            assert (await client.get_server_metadata())["name"] == "fastserve"
            assert (await client.get_model_metadata("scalar"))["name"] == "scalar"
            assert (await client.get_model_config("scalar"))["name"] == "scalar"
            await asyncio.gather(*(ask_one(client, *case) for case in CASES))

    async def ask_one(client, datatype, binary_in, binary_out) -> None:
        tensor, output = ask(tritonclient.http.aio, datatype, binary_in, binary_out)
        name = f"identity_{datatype.lower()}"
        answer = await client.infer(name, [tensor], outputs=[output], request_id=f"{datatype}!")
        assert answer.get_response()["id"] == f"{datatype}!"
        expected = text_if_json(datatype, binary_out)
        np.testing.assert_array_equal(answer.as_numpy("y"), expected)

    asyncio.run(asyncio.wait_for(ask_all(), 60))


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_bit_pattern_passes_through_as_binary(server, datatype):
    """NaNs with payloads, negative zeros, subnormals; for BYTES every byte."""
    model = f"identity_{datatype.lower()}"
    data = every_pattern(datatype)
    body, headers = kserve.binary_body(
        [kserve.binary_tensor("x", data, datatype)], parameters={"binary_data_output": True}
    )
    answer = kserve.result(server.post(model, body, headers))
    assert answer.header["outputs"][0]["datatype"] == datatype
    assert answer.outputs["y"].shape == data.shape
    assert kserve.raw_bytes(answer.outputs["y"]) == kserve.raw_bytes(data)


def every_pattern(datatype: str) -> Any:
    if datatype == "BOOL":
        return np.array([[False, True]])
    if datatype == "BYTES":
        return np.array([[bytes([byte]) * (byte % 5) for byte in range(256)]], np.object_)
    dtype = np.dtype(kserve.DTYPES[datatype])
    if dtype.itemsize == 1:
        return np.arange(256, dtype=np.uint8).view(dtype).reshape(2, 128)
    random = np.random.default_rng(dtype.itemsize).bytes(64 * dtype.itemsize)
    special = b"".join(
        bits.to_bytes(dtype.itemsize, "little")
        for bits in (0, 1, (1 << (8 * dtype.itemsize - 1)), (1 << (8 * dtype.itemsize)) - 1)
    )
    return np.frombuffer(random + special, dtype).reshape(4, 17)


@pytest.mark.parametrize("datatype", NOT_IN_JSON)
def test_half_precision_has_no_json_form(server, datatype):
    model = f"identity_{datatype.lower()}"
    tensor = {"name": "x", "shape": [1, 1], "datatype": datatype, "data": [1.0]}
    answer = server.post(model, {"inputs": [tensor]})
    assert answer.status == 400, answer
    assert "'x'" in answer.error
    assert datatype in answer.error

    one = binary_one(datatype)
    body, headers = kserve.binary_body([one], outputs=[{"name": "y"}])
    answer = server.post(model, body, headers)
    assert answer.status == 400, answer
    assert "'y'" in answer.error
    assert datatype in answer.error


def binary_one(datatype):
    return kserve.binary_tensor("x", np.zeros((1, 1), kserve.DTYPES[datatype]), datatype)
