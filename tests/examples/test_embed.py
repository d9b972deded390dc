"""The embedding example gives the digits model's own answers, in process and over HTTP."""

import re


def test_run_answers_in_process_and_over_http(run_example):
    done = run_example("embed/run.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "in process: 355 of 360 right" in done.stdout
    awaited = re.search(r"awaited, one by one: (\d+) of 360 right, in (\d+) runs", done.stdout)
    assert awaited, done.stdout
    assert int(awaited[1]) == 355
    assert int(awaited[2]) < 360
    assert re.search(r"over HTTP at http://127.0.0.1:\d+: somebody wrote a 7", done.stdout)


def test_the_readme_shows_what_the_example_does(root):
    readme = (root / "examples" / "embed" / "README.md").read_text()
    script = (root / "examples" / "embed" / "run.py").read_text()
    for call in ("server.load(", "model.infer(", "server.listen(port="):
        assert call in readme
        assert call in script
