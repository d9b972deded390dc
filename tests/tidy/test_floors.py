"""An include or an import goes to a strictly lower floor."""

import pytest

from tests.tidy import floors, tree


def test_includes_go_to_a_lower_floor():
    found = [
        violation
        for source in tree.sources(tree.CPP_SUFFIXES, "csrc", "kernels", "tests")
        for violation in floors.check_includes(source)
    ]
    assert not found, tree.report(found)


def test_imports_go_to_a_lower_floor():
    found = [
        violation
        for source in tree.sources(tree.PYTHON_SUFFIXES, "python")
        for violation in floors.check_imports(source)
    ]
    assert not found, tree.report(found)


def test_every_room_has_a_floor():
    rooms = {path.parts[1] for path in tree.paths() if path.parts[0] == "csrc" and path.parts[2:]}
    assert rooms - {"include"} <= set(floors.CPP_FLOORS)


# The rule itself must be able to fail: one line per way to break it.
@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("csrc/base/status.h", '#include "tensor/shape.h"'),
        ("csrc/sync/signal.h", '#include "tensor/shape.h"'),
        ("csrc/protocol/json.cc", '#include "sync/signal.h"'),
        ("csrc/serving/scheduler.cc", '#include "protocol/http1.h"'),
        ("csrc/backends/identity/identity.cc", '#include "backends/plugin/plugin.h"'),
        ("csrc/serving/scheduler.h", "#include <Python.h>"),
        ("csrc/gateway/router.cc", "#include <simdjson.h>"),
        ("csrc/protocol/http1.cc", "#include <boost/beast/http/basic_parser.hpp>"),
        ("csrc/memory/slab.cc", "#include <cuda_runtime.h>"),
        ("csrc/protocol/http1.h", "#include <thread>"),
        ("csrc/protocol/http1.h", '#include "base/clock.h"'),
        ("csrc/include/fastserve/backend.h", '#include "base/status.h"'),
        ("kernels/rows.cu", '#include "tensor/shape.h"'),
        ("tests/csrc/protocol/json_test.cc", '#include "serving/backend.h"'),
    ],
)
def test_an_include_of_a_forbidden_room_is_found(path, line):
    assert list(floors.check_includes(tree.at(path, f"// Why.\n{line}\n")))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("csrc/protocol/json.cc", '#include "tensor/shape.h"'),
        ("csrc/protocol/json.cc", "#include <simdjson.h>"),
        ("csrc/backends/identity/identity.cc", '#include "backends/identity/identity.h"'),
        ("csrc/bind/module.cc", '#include "backends/identity/identity.h"'),
        ("csrc/backends/plugin/plugin.cc", '#include "fastserve/backend.h"'),
        ("csrc/device/copy.cc", '#include "kernels/rows.h"'),
        ("tests/csrc/protocol/json_test.cc", "#include <thread>"),
    ],
)
def test_an_include_of_a_lower_room_passes(path, line):
    assert not list(floors.check_includes(tree.at(path, line)))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("python/fastserve/config/units.py", "from fastserve.server import app"),
        ("python/fastserve/config/units.py", "import fastserve.model"),
        ("python/fastserve/server/app.py", "from ..cli import main"),
        ("python/fastserve/server/app.py", "from fastserve import serve"),
        ("python/fastserve/worker/child.py", "def f():\n    from fastserve import control"),
        ("python/fastserve/novel/thing.py", "import os"),
    ],
)
def test_an_import_of_a_forbidden_room_is_found(path, line):
    assert list(floors.check_imports(tree.at(path, line)))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("python/fastserve/server/app.py", "from fastserve import __version__, config"),
        ("python/fastserve/server/app.py", "from . import routes"),
        ("python/fastserve/server/app.py", "from .routes import health"),
        ("python/fastserve/cli/main.py", "from fastserve.server.app import App"),
        ("python/fastserve/__init__.py", "from fastserve.errors import Error"),
    ],
)
def test_an_import_of_a_lower_room_passes(path, line):
    assert not list(floors.check_imports(tree.at(path, line)))
