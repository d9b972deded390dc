"""What is installed: Python, fastserve's core, the engine, and what makes a server faster."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from fastserve import __version__
from fastserve.cli.diagnosis.finding import Finding, fail, ok, warn
from fastserve.control.loading.engine import onnxruntime_library
from fastserve.errors import Error


def findings() -> Iterator[Finding]:
    has_gil: bool = getattr(sys, "_is_gil_enabled", lambda: True)()
    gil = "" if has_gil else ", free-threaded"
    yield ok("python", f"{platform.python_version()}{gil} at {sys.executable}")
    core = _core()
    yield core
    if core.level != "fail":
        yield _engine()
        yield _gpu()
    yield _uvloop()
    yield _metrics()


def _core() -> Finding:
    try:
        from fastserve import _core as core
    except ImportError as error:
        return fail(
            "fastserve",
            f"{__version__}, whose core does not load: {error}",
            "install it again: pip install --force-reinstall fastserve",
        )
    if core.__version__ != __version__:
        return fail(
            "fastserve",
            f"{__version__}, but its core is {core.__version__}",
            "build or install it again",
        )
    return ok("fastserve", f"{__version__}, its core loads")


def _engine() -> Finding:
    from fastserve import _core as core

    try:
        library = onnxruntime_library()
    except Error as error:
        return fail(
            "onnxruntime", error.message.partition(";")[0], error.message.partition("; ")[2]
        )
    version = importlib.metadata.version("onnxruntime") if _has("onnxruntime") else "?"
    try:
        core.open_onnxruntime("/nonexistent.onnx", library=library)
    except core.CoreError as error:
        code, message = error.args
        if code != "NOT_FOUND":  # Of the file, which is what was asked for.
            return fail("onnxruntime", f"{version}: {message}", "install another version")
    return ok("onnxruntime", f"{version}, {Path(library).name} loads")


def _gpu() -> Finding:
    """What the kernel shows and whether the engine could use it; nothing is initialised."""
    devices = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    try:
        provider = Path(onnxruntime_library()).with_name("libonnxruntime_providers_cuda.so")
    except Error:
        return ok("gpu", "not looked at without an engine")
    if not devices:
        return ok("gpu", "none is visible")
    if provider.exists():
        return ok("gpu", f"{', '.join(devices)}, and the engine has a CUDA provider")
    return warn(
        "gpu",
        f"{', '.join(devices)}, which the engine cannot use",
        "pip install onnxruntime-gpu in place of onnxruntime",
    )


def _uvloop() -> Finding:
    if importlib.util.find_spec("uvloop") is None:
        return warn("uvloop", "not installed", "the event loop is slower: pip install uvloop")
    return ok("uvloop", f"{importlib.metadata.version('uvloop')} is used")


def _metrics() -> Finding:
    if importlib.util.find_spec("prometheus_client") is None:
        return warn("metrics", "/metrics answers 501", "pip install prometheus-client")
    version = importlib.metadata.version("prometheus-client")
    return ok("metrics", f"prometheus-client {version}")


def _has(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
