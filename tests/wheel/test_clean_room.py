"""The wheel in dist/ works on a machine that has none of the libraries it was built with.

Skipped without a wheel; `make wheel` builds one and runs this with FASTSERVE_REQUIRE_WHEEL set.
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WHEEL_BYTES_MAX = 5_000_000
# What the wheel brings along; what it may ask of the system is auditwheel's policy, checked below.
BUNDLED = "simdjson"

PROBE = """
import sys
import fastserve
assert not {"fastserve._core", "numpy", "onnxruntime"} & set(sys.modules), "import is not light"
import fastserve._core
assert fastserve._core.__version__ == fastserve.__version__
assert fastserve._core.ServingMap()
print(fastserve.__file__)
print(*{line.split()[-1] for line in open("/proc/self/maps") if "simdjson" in line})
"""


@pytest.fixture(scope="module")
def wheel() -> Path:
    wheels = sorted((ROOT / "dist").glob("*.whl"))
    if not wheels:
        assert "FASTSERVE_REQUIRE_WHEEL" not in os.environ, "dist/ holds no wheel"
        pytest.skip("dist/ holds no wheel: `make wheel` builds one")
    (only,) = wheels
    return only


@pytest.fixture(scope="module")
def clean_room(wheel, tmp_path_factory) -> Path:
    """A new environment with the wheel and what it depends on; nothing from this tree."""
    room = tmp_path_factory.mktemp("room")
    subprocess.run([sys.executable, "-m", "venv", room], check=True)
    command = [room / "bin" / "pip", "install", "-q", "--disable-pip-version-check", wheel]
    subprocess.run(command, check=True, cwd=room, stdin=subprocess.DEVNULL)
    return room


def test_the_wheel_is_small(wheel):
    assert wheel.stat().st_size <= WHEEL_BYTES_MAX


def test_the_wheel_is_for_any_recent_linux(wheel):
    assert "manylinux" in wheel.name


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0].partition("-")[0] for name in names}
    assert tops <= {"fastserve", "fastserve.libs"}, tops
    assert "fastserve/py.typed" in names
    assert "fastserve/_core/__init__.pyi" in names
    assert any(name.startswith("fastserve.libs/") and BUNDLED in name for name in names)
    assert any("licenses/LICENSE" in name for name in names)


def test_the_core_loads_its_own_libraries(clean_room):
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env.pop("LD_LIBRARY_PATH", None)
    done = subprocess.run(
        [clean_room / "bin" / "python", "-I", "-c", PROBE],
        cwd=clean_room,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    package, libraries = done.stdout.splitlines()
    assert Path(package).is_relative_to(clean_room)
    assert libraries, "the core was expected to load simdjson"
    assert all(Path(path).is_relative_to(clean_room) for path in libraries.split()), libraries


def test_the_command_is_installed(clean_room):
    done = subprocess.run(
        [clean_room / "bin" / "fastserve", "--help"], cwd=clean_room, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout.lower()
