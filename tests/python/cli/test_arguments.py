"""The command line is read as people write it, and what is wrong is told with a guess."""

from __future__ import annotations

import pytest

from fastserve.cli.arguments import HELP, Flag, UsageError, help_text, read


def boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"expected true or false, found '{text}'")
    return text == "true"


FLAGS = (
    Flag("port", "PORT", "where to listen", int, group="sockets", default="8000"),
    Flag("access-log", "", "one line a request", boolean),
    Flag("input", "NAME=VALUE", "a tensor", repeats=True),
    HELP,
)


def values(*given: str) -> dict[str, object]:
    return read(given, FLAGS).values


@pytest.mark.parametrize(
    "given",
    [
        ["a.onnx", "b.onnx", "--port", "9"],
        ["--port", "9", "a.onnx", "b.onnx"],
        ["a.onnx", "--port=9", "b.onnx"],
        ["a.onnx", "--port", "1", "b.onnx", "--port", "9"],  # The last one holds.
    ],
)
def test_options_and_operands_come_in_any_order(given):
    arguments = read(given, FLAGS)
    assert arguments.operands == ["a.onnx", "b.onnx"]
    assert arguments.values == {"port": 9}


def test_a_switch_can_be_turned_on_and_off():
    assert values("--access-log") == {"access-log": True}
    assert values("--no-access-log") == {"access-log": False}
    assert values("--access-log=false") == {"access-log": False}
    assert values("--access_log") == {"access-log": True}


def test_what_follows_two_dashes_is_no_option():
    arguments = read(["--port", "1", "--", "--port", "x"], FLAGS)
    assert arguments.operands == ["--port", "x"]


def test_a_value_may_begin_with_one_dash_and_hold_equal_signs():
    assert values("--port", "-1") == {"port": -1}
    assert values("--input", "x=@a=b.npy", "--input=y=[1]") == {"input": ["x=@a=b.npy", "y=[1]"]}


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_is_noticed_anywhere(word):
    assert read(["a.onnx", word], FLAGS).wants_help


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--prot", "1"], "unknown option '--prot'; did you mean '--port'?"),
        (["--prot=1"], "unknown option '--prot'; did you mean '--port'?"),
        (["--zzzzzz"], "unknown option '--zzzzzz'; --help lists the options"),
        (["-x"], "unknown option '-x'; --help lists the options"),
        (["--no-port"], "unknown option '--no-port'; did you mean '--port'?"),
        (["--port"], "--port needs a value: --port PORT"),
        (["--port", "--access-log"], "--port needs a value: --port PORT"),
        (["--access-log=maybe"], "--access-log: expected true or false, found 'maybe'"),
        (["--no-access-log=true"], "--no-access-log takes no value, found 'true'"),
        (["--model-store", "x"], "unknown option '--model-store'; name the path alone"),
    ],
)
def test_what_is_wrong_is_told(given, message):
    with pytest.raises(UsageError) as caught:
        read(given, FLAGS, {"model-store": "name the path alone"})
    assert caught.value.message == message


def test_help_groups_flags_and_shows_defaults():
    text = help_text("fastserve x", "About it.", FLAGS, "The end.")
    assert text.startswith("usage: fastserve x\n\nAbout it.\n")
    assert "sockets:\n  --port PORT               where to listen (default: 8000)\n" in text
    assert text.endswith("\nThe end.\n")
    assert all(len(line) <= 100 for line in text.splitlines())
