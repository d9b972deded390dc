"""fastserve models: what it makes of its command line, before any server is asked."""

import json

import pytest

from fastserve.cli import models
from fastserve.cli.arguments import UsageError


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "expected a command: list, load, unload, label, rollback, watch"),
        (["lst"], "unknown command 'models lst'; did you mean 'list'?"),
        (["x"], "unknown command 'models x'; expected list, load"),
        (["load"], "fastserve models load NAME..."),
        (["unload"], "fastserve models unload NAME..."),
        (["label", "m"], "expected NAME LABEL=VERSION..."),
        (["label", "m", "stable"], "stable: expected LABEL=VERSION, or LABEL= to take it away"),
        (["label", "m", "stable=²"], "stable=²: expected LABEL=VERSION"),
        (["label", "m", "stable=x"], "stable=x: expected LABEL=VERSION"),
        (["rollback"], "expected one NAME"),
        (["rollback", "a", "b"], "expected one NAME"),
        (["load", "m", "--file", "1/model.onnx"], "expected VERSION/NAME=FILE"),
        (["load", "m", "--config", "gone.json"], "gone.json: No such file or directory"),
        (["list", "--url", "ftp://x"], "expected host:port or http://host:port"),
    ],
)
def test_what_cannot_be_asked_is_said_with_what_can(given, message):
    with pytest.raises(UsageError) as told:
        models.main(given)
    assert message in told.value.message


def test_files_need_a_config(tmp_path):
    file = tmp_path / "m.onnx"
    file.write_bytes(b"onnx")
    with pytest.raises(UsageError, match="--file needs a --config"):
        models.main(["load", "m", "--file", f"1/model.onnx={file}"])


def test_several_models_have_no_config_in_common(tmp_path):
    file = tmp_path / "c.json"
    file.write_text("{}")
    with pytest.raises(UsageError, match="are for one model"):
        models.main(["load", "a", "b", "--config", str(file)])


def test_a_config_in_text_format_is_sent_as_json(tmp_path):
    file = tmp_path / "config.pbtxt"
    file.write_text("max_batch_size: 4\ninstance_group { count: 2 }")
    assert json.loads(models._config(file)) == {
        "max_batch_size": 4,
        "instance_group": [{"count": 2}],
    }


def test_nobody_there_is_an_error_that_says_so(capsys):
    assert models.main(["list", "--url", "127.0.0.1:1"]) == 1
    assert "is a server running there?" in capsys.readouterr().err


def test_help_teaches(capsys):
    assert models.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "fastserve models rollback digits --to 2" in text
    assert "127.0.0.1:8000)" in text
