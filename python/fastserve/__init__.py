"""fastserve: serve models over HTTP and inside a program, from a C++ core.

    import fastserve

    with fastserve.Server() as server:
        model = server.load("digits.onnx")
        probabilities = model.infer({"image": x})["probabilities"]
        server.listen(port=8000)  # The same model, over HTTP.

Public names only; importing this package loads neither the core nor numpy: each name brings what it
needs when it is first used.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "HTTP_STATUS",
    "Durations",
    "Error",
    "Future",
    "Listener",
    "Model",
    "ModelStats",
    "Server",
    "Tensor",
    "__version__",
]

if TYPE_CHECKING:
    from fastserve._core import Future
    from fastserve.config.model_config import Tensor
    from fastserve.embed.listener import Listener
    from fastserve.embed.model import Model
    from fastserve.embed.server import Server
    from fastserve.embed.stats import Durations, ModelStats
    from fastserve.errors import HTTP_STATUS, Error

# Where each name lives: the imports above, for when they are needed.
_HOMES = {
    "Durations": "fastserve.embed.stats",
    "Error": "fastserve.errors",
    "Future": "fastserve._core",
    "HTTP_STATUS": "fastserve.errors",
    "Listener": "fastserve.embed.listener",
    "Model": "fastserve.embed.model",
    "ModelStats": "fastserve.embed.stats",
    "Server": "fastserve.embed.server",
    "Tensor": "fastserve.config.model_config",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'fastserve' has no attribute '{name}'", name=name)
    from importlib import import_module

    value: object = getattr(import_module(home), name)
    globals()[name] = value  # The next look-up finds it at once.
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
