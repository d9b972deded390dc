"""Regions and ranges of shared memory that are not what they say."""

import json
import os
import uuid
from pathlib import Path

import numpy as np
import pytest

from tests.attacks.shared_memory import Memory, asked, infer, register, unregister, where

pytestmark = pytest.mark.usefixtures("no_region_is_left")
U64_MAX = 2**64 - 1


# -- What is registered ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "size", "word"),
    [
        (0, 4097, "4096"),
        (4096, 1, "4096"),
        (1, 4096, "4096"),
        (U64_MAX, 2, ""),
        (U64_MAX, 1 << 20, "4096"),
        (0, 0, "byte"),
        (0, -1, "byte_size"),
        (-1, 1, "offset"),
        (0, 1.5, "byte_size"),
        (0, True, "byte_size"),
        (0, "1", "byte_size"),
        (0, None, "byte_size"),
        (0, 2**64, "byte_size"),
    ],
)
def test_a_region_is_within_its_object(shared, offset, size, word):
    with Memory(4096) as memory:
        answer = register(shared, "wrong", memory.key, offset, size)
        assert answer.status == 400
        assert word in answer.error


def test_regions_have_a_limit_of_bytes(shared):
    for offset in (0, 2, U64_MAX):
        answer = register(shared, "wrong", "/nobody", offset, U64_MAX)
        assert answer.status == 429
        assert str(64 << 30) in answer.error


@pytest.mark.parametrize(
    "key",
    ["", "/", "..", "/..", "/.", "../etc/passwd", "/../etc/passwd", "/a/b", "//a", "a\0b", "/sem.x",
     "x" * 300, "/ümlaut", "/new\nline"],
)  # fmt: skip
def test_a_key_names_an_object_of_shared_memory_alone(shared, key):
    assert register(shared, "wrong", key, 0, 1).status in (400, 404)


def test_what_is_no_plain_object_is_refused(shared, tmp_path):
    link, pipe = (
        Path(f"/dev/shm/fastserve-attack-{uuid.uuid4().hex}-{n}") for n in ("link", "pipe")
    )
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(4096))
    try:
        link.symlink_to(secret)
        os.mkfifo(pipe)
        for path in (link, pipe, Path("/dev/shm")):
            answer = register(shared, "wrong", f"/{path.name}", 0, 1)
            assert answer.status in (400, 403, 404), answer
    finally:
        link.unlink(missing_ok=True)
        pipe.unlink(missing_ok=True)


def test_an_object_that_is_not_there_is_named(shared):
    answer = register(shared, "wrong", "/fastserve-nobody", 0, 1)
    assert answer.status == 404
    assert "fastserve-nobody" in answer.error


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"{}",
        b'{"key": 1}',
        b'{"key": "/a"}',
        b'{"key": "\\ud800", "byte_size": 1}',
    ],
)
def test_a_registration_that_is_none_is_refused(shared, body):
    answer = shared.request("POST", "/v2/systemsharedmemory/region/x/register", body)
    assert answer.status == 400


def test_there_is_a_limit_of_regions(shared):
    with Memory(4096) as memory:
        answers = [register(shared, f"n{i}", memory.key, 0, 4096) for i in range(260)]
        assert [a.status for a in answers] == [200] * 200 + [429] * 60
        assert "200" in answers[-1].error
        assert unregister(shared, "n7").status == 200
        assert register(shared, "n7", memory.key, 0, 4096).status == 200


def test_a_name_is_free_again_when_it_was_unregistered(shared, memory):
    for _ in range(10_000 // 100):  # Each a mapping and a descriptor.
        assert register(shared, "again", memory.key, 0, 4096).status == 200
        assert register(shared, "again", memory.key, 0, 4096).status == 400
        assert unregister(shared, "again").status == 200


# -- What requests say -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        (where("r", 16, (64 << 10) - 15), "r"),
        (where("r", 16, U64_MAX - 15), "r"),
        (where("r", 16, U64_MAX), ""),
        (where("r", 17), "17"),
        (where("r", 15), "15"),
        (where("r", 0), "0"),
        (where("r", U64_MAX), ""),
        (where("", 16), "shared_memory_region"),
        ({"shared_memory_region": "r"}, "shared_memory_byte_size"),
        ({"shared_memory_byte_size": 16}, "shared_memory_region"),
        ({"shared_memory_offset": 0}, "shared_memory_region"),
        ({**where("r", 16), "binary_data_size": 0}, "x"),
        ({**where("r", 16), "shared_memory_offset": -1}, "shared_memory_offset"),
        ({**where("r", 16), "shared_memory_region": 7}, "shared_memory_region"),
    ],
)
def test_an_input_is_within_its_region(shared, memory, parameters, word):
    answer = infer(shared, asked(parameters))
    assert answer.status == 400, answer
    assert word in answer.error


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        (where("r", 16, (64 << 10) - 15), "r"),
        (where("r", 16, U64_MAX), ""),
        (where("r", U64_MAX, 1), ""),
        (where("r", 15), "15"),
        (where("r", 0), "0"),
        ({**where("r", 16), "binary_data": True}, "y"),
        ({**where("r", 16), "classification": 2}, "y"),
    ],
)
def test_an_output_is_within_its_region(shared, memory, parameters, word):
    answer = infer(shared, asked(outputs=parameters))
    assert answer.status == 400, answer
    assert word in answer.error
    assert memory.map[:32] == bytes(32), "nothing was written"


def test_an_unknown_region_is_named(shared, memory):
    for body in (asked(where("s", 16)), asked(outputs=where("s", 16))):
        answer = infer(shared, body)
        assert answer.status == 404
        assert "'s'" in answer.error


def test_outputs_do_not_overlap(shared, memory):
    row = {"shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    body = {
        "inputs": [{"name": "a", **row}, {"name": "b", **row}],
        "outputs": [
            {"name": "sum", "parameters": where("r", 16)},
            {"name": "product", "parameters": where("r", 16, 15)},
        ],
    }
    answer = infer(shared, json.dumps(body).encode(), "add_mul")
    assert answer.status == 400
    assert "overlap" in answer.error


def test_two_inputs_may_be_the_same_bytes(shared, memory):
    memory.map[:16] = np.array([1, 2, 3, 4], np.float32).tobytes()
    row = {"shape": [1, 4], "datatype": "FP32", "parameters": where("r", 16)}
    body = {"inputs": [{"name": "a", **row}, {"name": "b", **row}], "outputs": [{"name": "sum"}]}
    answer = infer(shared, json.dumps(body).encode(), "add_mul")
    assert answer.json["outputs"][0]["data"] == [2, 4, 6, 8]


@pytest.mark.parametrize("offset", [1, 2, 3, 5, 61])
def test_tensors_need_not_be_aligned(shared, memory, offset):
    sent = np.array([1, 2, 3, 4], np.float32).tobytes()
    memory.map[offset : offset + 16] = sent
    answer = infer(shared, asked(where("r", 16, offset), where("r", 16, 1000 + offset)))
    assert answer.status == 200, answer
    assert memory.map[1000 + offset : 1016 + offset] == sent


def test_an_output_over_its_own_input_is_the_whole_output(shared, memory):
    memory.map[:16] = np.array([1, 2, 3, 4], np.float32).tobytes()
    assert infer(shared, asked(where("r", 16), where("r", 16, 4))).status == 200
    assert np.frombuffer(memory.map[:20], np.float32).tolist() == [1, 1, 2, 3, 4]


@pytest.mark.parametrize("length", [13, 2**31, 2**32 - 1])
def test_a_string_does_not_go_beyond_its_bytes(shared, memory, length):
    memory.map[:16] = length.to_bytes(4, "little") + bytes(12)
    answer = infer(shared, asked(where("r", 16), elements=1, datatype="BYTES"), "strings")
    assert answer.status == 400, answer
