"""Examples of clients over shared memory, in Python and in C, give the digits model's answers."""

import re
import shutil
import subprocess
import sys

import pytest


def test_run_answers_in_place_and_on_a_loop(run_example):
    done = run_example("shm_client/run.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert re.search(r"ShmClient of @fastserve-\d+>: 355 of 360 right", done.stdout)
    assert "asyncio: 355 of 360 right" in done.stdout
    assert "another dtype: INVALID_ARGUMENT: " in done.stdout


def test_the_program_in_c_is_built_and_answered(root, tmp_path, load_example):
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("there is no C compiler")
    flags = subprocess.run(
        [sys.executable, "-m", "fastserve.client.shm", "--cflags", "--libs"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    source, program = root / "examples/shm_client/infer.c", tmp_path / "infer"
    subprocess.run([compiler, "-std=c99", source, *flags, "-o", program], check=True)
    servers = load_example("local_server.py")
    with servers.LocalServer(root / "examples/digits/digits.onnx") as server:
        done = subprocess.run(
            [program, f"@fastserve-{server.port}", "digits"],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert "label: INT64[1]" in done.stdout


def test_the_readme_shows_what_the_example_does(root):
    readme = (root / "examples" / "shm_client" / "README.md").read_text()
    script = (root / "examples" / "shm_client" / "run.py").read_text()
    block = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert block is not None
    for line in block[1].splitlines():
        assert line.strip() in script
