"""Where the engines' shared libraries are."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

from fastserve.errors import Error


@functools.cache
def onnxruntime_library() -> str:
    """The shared library in the onnxruntime package, which is not imported: that takes 115 ms.

    Errors: FAILED_PRECONDITION with the command that installs it.
    """
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        raise Error(
            "FAILED_PRECONDITION",
            "serving .onnx files needs ONNX Runtime; install it: pip install onnxruntime",
        )
    folder = Path(spec.origin).parent / "capi"
    libraries = sorted(folder.glob("libonnxruntime.so*"))
    if not libraries:
        raise Error(
            "FAILED_PRECONDITION",
            f"no libonnxruntime.so in {folder}; install it again:"
            " pip install --force-reinstall onnxruntime",
        )
    return str(libraries[-1])
