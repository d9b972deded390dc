"""fastserve infer against a real server, and against what is none."""

from __future__ import annotations

import json
import socket
import threading

import numpy as np
import pytest

from tests.python.server.conftest import DIGITS, MODELS, ROOT, Running

REQUEST = json.loads((ROOT / "examples" / "digits" / "request.json").read_text())
PIXELS = REQUEST["inputs"][0]["data"]


@pytest.fixture
def server(start) -> Running:
    running: Running = start(DIGITS, MODELS / "add_mul.onnx")
    return running.await_ready()


def url(server: Running) -> str:
    return f"127.0.0.1:{server.port}"


def test_written_json(server, fastserve):
    done = fastserve(
        "infer", url(server), "add_mul", "--input", "a=[1,2,3,4]", "--input", "b=[[5,6,7,8]]"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("add_mul version 1\n")
    assert "  sum FP32 [1, 4]\n    [[6, 8, 10, 12]]\n" in done.stdout
    assert "  product FP32 [1, 4]\n    [[5, 12, 21, 32]]\n" in done.stdout


def test_a_numpy_file(server, fastserve, tmp_path):
    file = tmp_path / "image.npy"
    np.save(file, np.array(PIXELS, np.float32).reshape(8, 8))
    done = fastserve("infer", f"http://{url(server)}", "digits", "--input", f"image=@{file}")
    assert done.returncode == 0, done.stderr
    assert "  label INT64 [1]\n    [7]\n" in done.stdout


def test_a_json_file_one_output_and_the_raw_answer(server, fastserve, tmp_path):
    file = tmp_path / "image.json"
    file.write_text(json.dumps(PIXELS))
    done = fastserve(
        "infer", url(server), "digits", "--input", f"@{file}", "--output", "label", "--json"
    )
    assert done.returncode == 0, done.stderr
    (output,) = json.loads(done.stdout)["outputs"]
    assert (output["name"], output["data"]) == ("label", [7])


def test_half_precision_travels_raw(start, fastserve):
    server = start(MODELS / "identity_fp16.onnx").await_ready()
    (tensor,) = server.get("/v2/models/identity_fp16").json["inputs"]
    values: object = 0.5
    for length in reversed(tensor["shape"]):
        values = [values] * max(length, 1)
    done = fastserve("infer", url(server), "identity_fp16", "--input", json.dumps(values), "--json")
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["outputs"][0]["data"]) == {0.5}


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["digitz", "--input", "[1]"], 1, "there is no model 'digitz'; did you mean 'digits'?"),
        (["digits", "--model-version", "9", "--input", "[1]"], 1, "no version 9; it has 1"),
        (["digits", "--input", "imag=[1]"], 2, "no such input; did you mean 'image'?"),
        (["digits"], 2, "nothing to send: the model takes 'image'"),
        (["add_mul", "--input", "[1,2,3,4]"], 2, "expected NAME=VALUE, as the model takes"),
        (["digits", "--input", "[1]", "--output", "labl"], 2, "did you mean 'label'?"),
        (["digits", "--input", "[[1,2],[3]]"], 2, "rows of different lengths are no tensor"),
        (["digits", "--input", "image=[1,2]"], 1, "answered 400: "),
    ],
)
def test_what_is_wrong_is_one_line(server, fastserve, arguments, status, message):
    done = fastserve("infer", url(server), *arguments)
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_server_is_told(fastserve):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    done = fastserve("infer", f"127.0.0.1:{port}", "digits", "--input", "[1]")
    assert done.returncode == 1
    assert done.stderr == (
        f"error: no answer from http://127.0.0.1:{port}: Connection refused;"
        " is a server running there?\n"
    )


def test_a_server_that_speaks_something_else_is_told(fastserve):
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            with other.accept()[0] as client:
                client.recv(4096)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<htm>")

        thread = threading.Thread(target=answer)
        thread.start()
        port = other.getsockname()[1]
        done = fastserve("infer", f"127.0.0.1:{port}", "digits", "--input", "[1]")
        thread.join()
    assert done.returncode == 1
    assert "is it a KServe v2 server?" in done.stderr


@pytest.mark.parametrize("wrong", ["https://h:1", "127.0.0.1:port", "http://"])
def test_a_wrong_url_is_told(fastserve, wrong):
    done = fastserve("infer", wrong, "digits")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {wrong}: ")
