"""The engine's library is found without importing the engine."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec

import pytest

from fastserve.control.loading import engine
from fastserve.errors import Error


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed onnxruntime whose folder capi/ the test fills."""
    origin = tmp_path / "onnxruntime" / "__init__.py"
    capi = origin.parent / "capi"
    capi.mkdir(parents=True)
    spec = ModuleSpec("onnxruntime", None, origin=str(origin))
    monkeypatch.setattr(importlib.util, "find_spec", {"onnxruntime": spec}.get)
    engine.onnxruntime_library.cache_clear()
    yield capi
    engine.onnxruntime_library.cache_clear()


def test_the_installed_library_is_found_and_the_package_not_imported():
    pytest.importorskip("onnxruntime.capi", reason="needs the dependency onnxruntime")
    before = set(sys.modules)
    engine.onnxruntime_library.cache_clear()
    library = engine.onnxruntime_library()
    assert "libonnxruntime.so" in library
    assert set(sys.modules) - before == set()


def test_the_library_of_the_package_is_taken(package):
    (package / "libonnxruntime.so.1.22.0").touch()
    (package / "libonnxruntime_providers_shared.so").touch()
    assert engine.onnxruntime_library() == str(package / "libonnxruntime.so.1.22.0")


def test_without_the_library_its_folder_and_the_command_are_named(package):
    with pytest.raises(Error) as caught:
        engine.onnxruntime_library()
    assert caught.value.code == "FAILED_PRECONDITION"
    assert str(package) in caught.value.message
    assert caught.value.message.endswith("pip install --force-reinstall onnxruntime")


def test_without_the_package_the_command_that_installs_it_is_named(package, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", {}.get)
    with pytest.raises(Error, match=r"install it: pip install onnxruntime$"):
        engine.onnxruntime_library()


# A failure is not remembered: after the installation the next load finds it.
def test_what_is_installed_later_is_found(package):
    with pytest.raises(Error):
        engine.onnxruntime_library()
    (package / "libonnxruntime.so").touch()
    assert engine.onnxruntime_library().endswith("libonnxruntime.so")
