"""The client's example gives the digits model's own answers, over both protocols."""

import re


def test_run_answers_over_both_protocols(run_example):
    done = run_example("client/run.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    for scheme in ("http", "grpc"):
        assert re.search(rf"{scheme}://127.0.0.1:\d+: 355 of 360 right", done.stdout)
    assert done.stdout.count("another dtype: INVALID_ARGUMENT: ") == 2


def test_the_readme_shows_what_the_example_does(root):
    readme = (root / "examples" / "client" / "README.md").read_text()
    script = (root / "examples" / "client" / "run.py").read_text()
    for call in ("client.wait_until_ready(", "client.infer("):
        assert call in readme
        assert call in script
