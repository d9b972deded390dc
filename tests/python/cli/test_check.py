"""fastserve check: what would be served, or what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastserve.cli.main import main

ROOT = Path(__file__).resolve().parents[3]
DIGITS = ROOT / "examples" / "digits" / "digits.onnx"


def add(repository: Path, name: str, config: str = "", *versions: int) -> None:
    for version in versions or (1,):
        folder = repository / name / str(version)
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(DIGITS.read_bytes())
    if config:
        (repository / name / "config.pbtxt").write_text(config)


def test_a_right_model_is_told_with_what_it_takes_and_gives(capsys):
    assert main(["check", str(DIGITS)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "OK     digits version 1  onnxruntime_onnx\n  takes image FP32 [-1, 8, 8]"
    )
    assert "  gives label INT64 [-1]\n" in out
    assert "  batching up to 32 rows, " in out


def test_batching_can_be_asked_about(capsys):
    assert main(["check", str(DIGITS), "--max-batch", "1"]) == 0
    assert "  batching off: --max-batch is below 2\n" in capsys.readouterr().out


# Every model is looked at, however many are wrong.
def test_wrong_models_are_told_with_file_line_and_field(capsys, tmp_path):
    add(tmp_path, "good")
    add(tmp_path, "typo", "max_batch_size: 8\nmax_batch_sizes: 8\n")
    add(tmp_path, "dims", 'max_batch_size: 8\ninput { name: "image" dims: [ 7, 8 ] }\n')
    (tmp_path / "empty").mkdir()
    assert main(["check", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "OK     good version 1" in out
    assert "WRONG  typo: typo/config.pbtxt:2" in out
    assert "WRONG  dims version 1: dims/config.pbtxt:2: input[0].dims: " in out
    assert "WRONG  empty: empty: no version directory in it" in out
    assert out.endswith("4 models, 3 wrong\n")


def test_a_file_that_is_no_model_is_wrong(capsys, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"this is no model")
    assert main(["check", str(broken)]) == 1
    assert capsys.readouterr().out.startswith("WRONG  broken version 1: ")


def test_what_has_no_effect_is_a_warning(capsys, tmp_path):
    add(tmp_path, "warned", "response_cache { enable: true }\n")
    assert main(["check", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "  warning: warned/config.pbtxt:1: response_cache has no effect" in out


def test_versions_that_the_policy_leaves_out_are_opened_too(capsys, tmp_path):
    add(tmp_path, "digits", "", 1, 2)
    (tmp_path / "digits" / "1" / "model.onnx").write_bytes(b"this is no model")
    assert main(["check", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "WRONG  digits version 1: " in out
    assert "OK     digits version 2" in out


def test_a_version_that_the_policy_asks_for_must_be_there(capsys, tmp_path):
    add(tmp_path, "digits", "version_policy { specific { versions: [ 1, 4 ] } }\n")
    assert main(["check", str(tmp_path)]) == 1
    assert "WRONG  digits version 4: version_policy asks for it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.onnx"], "none.onnx: no such file or directory"),
        ([str(DIGITS), str(DIGITS)], "two models are called 'digits'"),
        ([str(DIGITS), "--port", "1"], "unknown option '--port'"),
    ],
)
def test_what_cannot_be_checked_is_one_line(capsys, arguments, message):
    assert main(["check", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
