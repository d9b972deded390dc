"""`import fastserve` costs next to nothing, and each name brings what it needs."""

import subprocess
import sys

import pytest

import fastserve

PROBE = """
import sys
before = set(sys.modules)
import fastserve
loaded = set(sys.modules) - before
print(*sorted(loaded))
"""
# The plugin's other import is pytest itself.
PLUGIN_PROBE = """
import sys
import pytest
before = set(sys.modules)
import fastserve.embed.pytest_plugin
print(*sorted(set(sys.modules) - before))
"""


def modules_of(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_but_itself():
    ours = {name for name in modules_of(PROBE) if name.startswith("fastserve")}
    assert ours == {"fastserve"}
    assert not {"numpy", "asyncio", "onnxruntime"} & modules_of(PROBE)


def test_the_pytest_plugin_loads_nothing_but_itself():
    assert modules_of(PLUGIN_PROBE) == {
        "fastserve",
        "fastserve.embed",
        "fastserve.embed.pytest_plugin",
    }


@pytest.mark.parametrize("name", fastserve.__all__)
def test_every_public_name_is_there(name):
    assert getattr(fastserve, name) is not None
    assert name in dir(fastserve)


def test_a_name_that_is_not_there_is_said_as_python_says_it():
    with pytest.raises(AttributeError, match="module 'fastserve' has no attribute 'Sever'"):
        fastserve.Sever  # noqa: B018


def test_error_is_the_one_of_the_control_plane():
    from fastserve.errors import Error

    assert fastserve.Error is Error
    assert fastserve.HTTP_STATUS["UNAVAILABLE"] == 503
