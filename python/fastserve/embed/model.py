"""Model: a loaded model, to be called from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from fastserve import _core
from fastserve.config.model_config import Tensor
from fastserve.embed import shown
from fastserve.embed.entry import Entry
from fastserve.embed.stats import ModelStats

if TYPE_CHECKING:
    from fastserve.embed.server import Server


class Model(_core.Caller):
    """A loaded model: call it with arrays, get arrays.

        model = server.load("digits.onnx")
        model.infer({"image": x})["probabilities"]

    Requests of every caller, and of every listener's clients, share batches. A Model keeps its
    server alive; it says so after it was unloaded, or the server closed.

    Threads: any, also at once.
    """

    # infer(), submit() and ainfer() are the base's: a call goes through no Python code.
    __slots__ = ("__weakref__", "_entry", "_server")

    def __init__(self, server: Server, entry: Entry) -> None:
        super().__init__(entry.caller)
        self._server = server
        self._entry = entry

    @property
    def name(self) -> str:
        return self._entry.name

    @property
    def version(self) -> int:
        return self._entry.version

    @property
    def platform(self) -> str:
        """The engine and the format, in Triton's words: "onnxruntime_onnx"."""
        return self._entry.platform

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """As served: name, datatype ("FP32") and shape, with the batch dimension and -1 where any
        length fits."""
        return self._entry.served.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return self._entry.served.outputs

    @property
    def max_batch(self) -> int:
        """The most rows of a request, and of a batch; 0: the model has no batch dimension."""
        return self._entry.served.max_batch_size

    @property
    def batching(self) -> str:
        """Whether requests share batches, and why, in a few words."""
        return self._entry.served.batching

    @property
    def warnings(self) -> tuple[str, ...]:
        """What its config asks for and fastserve cannot do; it was logged at load, too."""
        return self._entry.warnings

    @property
    def is_loaded(self) -> bool:
        return self._entry.is_loaded

    def stats(self) -> ModelStats:
        """What was counted since it was loaded, HTTP and in-process calls together."""
        return self._entry.stats()

    def unload(self) -> None:
        """Stop serving it; what is in flight is still answered. Errors: NOT_FOUND: it was gone."""
        self._server._unload(self._entry)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and other._entry is self._entry

    def __hash__(self) -> int:
        return hash(self._entry)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a fastserve.Model cannot be pickled or copied: it belongs to its server; load it in"
            " each process"
        )

    def __repr__(self) -> str:
        state = "" if self.is_loaded else ", not loaded any more"
        return (
            f"<fastserve.Model {self.name}, version {self.version}:"
            f" {shown.tensors(self.inputs)} -> {shown.tensors(self.outputs)}{state}>"
        )

    def _repr_html_(self) -> str:
        return shown.model_html(self)
