"""The demo draws what it says and runs against the real server."""

import io
import re
import signal
import subprocess
import sys
import urllib.request

import pytest


@pytest.fixture
def demo(load_example):
    return load_example("digits/demo.py")


class Terminal(io.TextIOWrapper):
    """An output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def output(encoding: str, kind: type[io.TextIOWrapper] = io.TextIOWrapper) -> io.TextIOWrapper:
    return kind(io.BytesIO(), encoding=encoding)


def test_a_pipe_gets_no_colour_and_ascii_gets_no_blocks(demo, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert demo.Style.of(output("utf-8")) == demo.Style(blocks=True, colour=False)
    assert demo.Style.of(output("ascii")) == demo.Style(blocks=False, colour=False)
    assert demo.Style.of(output("utf-8", Terminal)) == demo.Style(blocks=True, colour=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert demo.Style.of(output("utf-8", Terminal)) == demo.Style(blocks=True, colour=False)


# Every style must give ten lines of one width, whatever the probabilities are.
@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.0001, 0.5, 0.9999, 1.0])
def test_the_picture_is_a_rectangle(demo, blocks, share):
    digit = demo.read_held_out()[0]
    style = demo.Style(blocks=blocks, colour=False)
    lines = demo.picture(digit, [share] * 10, 7, style)
    assert len(lines) == 10
    assert len({len(line) for line in lines}) == 1
    assert all(line.isascii() for line in lines) is not blocks


def test_colour_adds_escapes_and_nothing_else(demo):
    digit = demo.read_held_out()[0]
    lines = demo.picture(digit, [0.1] * 10, 7, demo.Style(blocks=True, colour=True))
    bare = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    assert "\x1b" in lines[8]
    assert "\x1b" not in "".join(bare)
    assert len({len(line) for line in bare}) == 1


def test_bars_grow_with_the_share(demo):
    for blocks in (False, True):
        style = demo.Style(blocks=blocks, colour=False)
        filled = [len(style.bar(share).rstrip()) for share in (0.0, 0.25, 0.5, 1.0)]
        assert filled == sorted(set(filled))
        assert filled[0] == 0
        assert filled[3] == demo.BAR_COLUMNS


def test_the_request_for_curl_is_the_first_held_out_digit(demo, root):
    import json

    (tensor,) = json.loads((root / "examples/digits/request.json").read_text())["inputs"]
    (image,) = tensor["data"]
    assert [ink for row in image for ink in row] == demo.read_held_out()[0].pixels


def test_once_predicts_and_leaves_with_success(run_example):
    result = run_example("digits/demo.py", "--once", PYTHONUTF8="1")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "The model says 7: right." in result.stdout
    assert "█" in result.stdout
    assert "\x1b" not in result.stdout


def test_a_wrong_prediction_is_a_failure(run_example, demo, root):
    row = wrong_row(demo, root)
    result = run_example("digits/demo.py", "--once", "--row", str(row))
    assert result.returncode == 1, result.stdout + result.stderr
    assert "wrong" in result.stdout


def wrong_row(demo, root) -> int:
    """A held-out digit that the model takes for another: it has a few."""
    import numpy as np
    import onnxruntime

    digits = demo.read_held_out()
    images = np.array([digit.pixels for digit in digits], np.float32).reshape(-1, 8, 8)
    session = onnxruntime.InferenceSession(root / "examples/digits/digits.onnx")
    (answers,) = session.run(["label"], {"image": images})
    return next(row for row, digit in enumerate(digits) if digit.label != answers[row])


# A port that is wanted and taken is said so, not silently replaced.
def test_a_taken_port_is_named(run_example):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = run_example("digits/demo.py", "--once", "--port", str(port))
    assert result.returncode == 2
    assert f"port {port} is taken" in result.stderr


# Without --once it serves until Ctrl-C, prints lines that work, and leaves no server behind.
def test_the_printed_curl_line_works_and_ctrl_c_stops_the_server(run_example, root):
    command = [sys.executable, "-u", root / "examples/digits/demo.py"]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            curl = next(line for line in child.stdout if line.startswith("curl "))
            printed = re.fullmatch(r"curl -d @(\S+) (\S+)\n", curl)
            assert printed is not None, curl
            body, url = printed.groups()
            with urllib.request.urlopen(url, (root / body).read_bytes(), timeout=30) as answer:
                assert b'"label"' in answer.read()
        finally:
            child.send_signal(signal.SIGINT)
            child.communicate(timeout=30)
    assert child.returncode == 0
    with pytest.raises(OSError):
        urllib.request.urlopen(url, timeout=5)
