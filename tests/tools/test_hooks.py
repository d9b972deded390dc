"""What git runs before a commit works offline, and with the versions that pyproject.toml pins."""

import os
import re
import shlex
import subprocess

import pytest
import yaml

from tests.tidy import tree
from tools import lint, requirements

CONFIG = tree.ROOT / ".pre-commit-config.yaml"
# `make lint` and this very suite run these two; here they would take most of the time.
SLOW = "mypy,tidy"
RUN_TIMEOUT_S = 120
PYTHON_OF_THE_HOOKS = tree.ROOT / ".venv" / "bin" / "python"


@pytest.fixture(scope="module")
def hooks():
    return [hook for repo in config()["repos"] for hook in repo["hooks"]]


def config():
    return yaml.safe_load(CONFIG.read_text())


def pins():
    """The tools of the `lint` extra and their versions."""
    return dict(line.split("==") for line in requirements.requirements("lint"))


def needs_linters():
    if not PYTHON_OF_THE_HOOKS.exists():
        pytest.skip("the hooks run what .venv has, and there is none: make setup")
    if not PYTHON_OF_THE_HOOKS.with_name("pre-commit").exists():
        pytest.skip("pre-commit is not installed: make hooks")


def test_every_tool_of_the_lint_extra_is_pinned():
    assert all(re.fullmatch(r"[\d.]+", version) for version in pins().values())


# A version that is written twice is wrong in one place sooner or later.
def test_no_other_file_pins_a_linter():
    names = "|".join(map(re.escape, pins()))
    second = re.compile(rf"\b({names})\s*(==|~=|@)\s*v?\d")
    found = [
        f"{source.path}: {match[0]}"
        for source in tree.sources({path.suffix for path in tree.paths()})
        if str(source.path) != "pyproject.toml"
        for match in second.finditer(source.text)
    ]
    assert found == []


def test_nothing_is_fetched_to_run_a_hook(hooks):
    assert [repo["repo"] for repo in config()["repos"]] == ["local"]
    assert {hook["language"] for hook in hooks} == {"system"}
    assert not [hook for hook in hooks if "additional_dependencies" in hook]
    assert "rev:" not in CONFIG.read_text()


def test_every_linter_has_its_hook_with_the_same_name(hooks):
    linters = {name for name, _ in lint.steps("changed", None)} - {"clang-tidy (changed)"}
    assert {hook["name"] for hook in hooks} == linters | {"the tree's own rules"}


def test_every_hook_calls_a_program_of_the_environment(hooks):
    needs_linters()
    for hook in hooks:
        program = shlex.split(hook["entry"])[0]
        assert program.startswith(".venv/bin/"), hook
        assert os.access(tree.ROOT / program, os.X_OK), hook


def test_the_hooks_pass_on_the_tree(tmp_path):
    needs_linters()
    environment = os.environ | {"PRE_COMMIT_HOME": str(tmp_path), "SKIP": SLOW}
    done = subprocess.run(
        [PYTHON_OF_THE_HOOKS.with_name("pre-commit"), "run", "--all-files", "--color=never"],
        cwd=tree.ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Passed") == len(config()["repos"][0]["hooks"]) - len(SLOW.split(","))
