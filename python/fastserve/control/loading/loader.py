"""Loader: from a version on disk to a Servable that has run once.

estimate -> read -> open -> complete the config from the signature -> probe -> build -> warm up.
Blocking, and called on a loader thread; the core releases the GIL while an engine works.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeGuard

from fastserve import _core
from fastserve.config.completion import (
    ModelDefaults,
    ServedConfig,
    complete,
    declared_signature,
)
from fastserve.config.model_config import (
    ENGINE_PARAMETERS,
    THREADS_MAX,
    ModelConfig,
    Signature,
    Tensor,
    integer_parameter,
)
from fastserve.control.loading.engine import onnxruntime_library
from fastserve.control.loading.estimate import (
    Estimate,
    check_readable,
    count_threads,
    files_beside,
    refuse_the_impossible,
)
from fastserve.control.loading.labels import Labels, read_labels
from fastserve.control.loading.reading import page_in, size_of
from fastserve.control.loading.warm_up import check_files, run_samples
from fastserve.control.repository.fingerprint import Fingerprint, of_files
from fastserve.control.repository.model_repository import ModelSource
from fastserve.errors import Error, from_core, not_found

_LOGGER = logging.getLogger("fastserve")


# Opening and warming up less than this is over before anybody would notice.
_GENTLE_BYTES_MIN = 16 << 20


class Counted(Protocol):
    """_core.Servable, or a version that was loaded in several processes."""

    def stats(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Loaded:
    """One version, ready to be published."""

    name: str
    version: int
    platform: str
    config: ModelConfig
    served: ServedConfig
    servable: Counted
    load_ns: int
    files: Fingerprint | None = None  # What it was loaded from, when the load began.


@dataclass(frozen=True)
class Opened:
    """One version whose config fits its model, before anything was built for it."""

    model: _core.Model
    platform: str
    signature: Signature
    served: ServedConfig
    labels: Labels


class Loader:
    """Threads: load() and open() from any thread, also at once."""

    def __init__(self, defaults: ModelDefaults) -> None:
        self._defaults = defaults

    def read_config(self, source: ModelSource) -> ModelConfig:
        """The config of a model as written; an empty one if it has no file.

        Errors: INVALID_ARGUMENT naming file, line and field.
        """
        if source.config_json:
            from fastserve.config.config_json import from_json  # Brings protobuf.

            config = from_json(source.config_json, source.config_shown_as)
        elif source.config_path is None:
            return ModelConfig(backend="onnxruntime")
        else:
            from fastserve.config.read_config import read_config  # Brings protobuf.

            config = read_config(source.config_path, source.config_shown_as)
        if config.name and config.name != source.name:
            raise config.source.wrong(
                "name", f"expected '{source.name}' as its directory, found '{config.name}'"
            )
        return config

    def load(
        self, source: ModelSource, version: int, config: ModelConfig, previous: Loaded | None = None
    ) -> Loaded:
        """`previous` is the same version as it is served now: where only its instances, batching
        or limits are to be others, the engine that it has open is used again.

        Errors: Error, with the reason why this version cannot be served.
        """
        start_ns = time.monotonic_ns()
        files = of_files(source, version)  # Before it is read: a later change is seen as one.
        engine = _same_engine(previous, config, files) if previous is not None else None
        gently = False
        if engine is None:
            estimate = self.estimate(source, version, config)
            shown_as = f"{source.name}/{version}"
            _LOGGER.debug("%s: loading %s", shown_as, estimate)
            refuse_the_impossible(estimate, shown_as)
            page_in(_files(source, version, config))
            gently = self._may_be_slow(config) and estimate.bytes >= _GENTLE_BYTES_MIN
        try:
            opened = self.open(source, version, config, engine, gently=gently)
            served = opened.served
            servable = _core.Servable(
                opened.model,
                name=source.name,
                version=version,
                inputs=_specs(served.inputs),
                outputs=_specs(served.outputs, opened.labels),
                max_batch_size=served.max_batch_size,
                max_queue_delay_ns=served.max_queue_delay_ns,
                preferred_batch_sizes=served.preferred_batch_sizes,
                instance_count=served.instance_count,
                queue_depth=served.queue_depth,
                caller_runs=self._defaults.caller_runs,
                join_requests=served.joins_requests,
            )
            run_samples(servable, source, config, gently=gently)
            servable.warm_up(served.warm_up_sizes, gently=gently)
        except _core.CoreError as error:
            raise from_core(error) from None
        load_ns = time.monotonic_ns() - start_ns
        return Loaded(
            source.name,
            version,
            opened.platform,
            config,
            served,
            servable,
            load_ns,
            files,
        )

    def estimate(self, source: ModelSource, version: int, config: ModelConfig) -> Estimate:
        """What loading it will take, by its files and its config alone.

        Errors: NOT_FOUND and PERMISSION_DENIED for its files; a wrong parameter.
        """
        instances = config.instance_count or self._defaults.instance_count
        if config.backend == "identity":
            return Estimate(0, instances)
        threads = count_threads(
            instances, self._intra_op_threads(config), _inter_op_threads(config)
        )
        return Estimate(sum(map(size_of, _files(source, version, config))), threads)

    def open(
        self,
        source: ModelSource,
        version: int,
        config: ModelConfig,
        engine: _core.Model | None = None,
        *,
        gently: bool = False,
    ) -> Opened:
        """Open the model, unless it is open as `engine`, and complete its config. `gently`: at low
        priority, for an engine that starts no threads.

        Errors: Error.
        """
        try:
            if config.backend == "identity":
                model = _open_identity(config)
            elif engine is not None:
                model = engine
            else:
                path = model_path(source, version, config)
                check_readable(path, _shown_as(source, version, config))
                model = self._open_onnxruntime(path, config, gently=gently)
            signature = Signature(model.platform, _tensors(model.inputs), _tensors(model.outputs))
            served = complete(
                config,
                signature,
                self._defaults,
                lambda: model.probe_batching(gently=gently),
            )
            check_files(source, config)
            labels = read_labels(source, config)
        except _core.CoreError as error:
            raise from_core(error) from None
        return Opened(model, model.platform, signature, served, labels)

    def _may_be_slow(self, config: ModelConfig) -> bool:
        """Threads that an engine starts would keep the priority of who opens it for ever."""
        has_no_threads = (self._intra_op_threads(config), _inter_op_threads(config)) == (1, 1)
        is_low = self._defaults.load_priority == "low"
        return is_low and has_no_threads and not config.providers

    def _open_onnxruntime(
        self, path: Path, config: ModelConfig, *, gently: bool = False
    ) -> _core.Model:
        return _core.open_onnxruntime(
            str(path),
            library=onnxruntime_library(),
            intra_op_threads=self._intra_op_threads(config),
            inter_op_threads=_inter_op_threads(config),
            optimization=config.optimization,
            spinning=bool(
                integer_parameter(config, "session.intra_op.allow_spinning", 0, maximum=1)
            ),
            providers=config.providers,
            gently=gently,
        )

    def _intra_op_threads(self, config: ModelConfig) -> int:
        return integer_parameter(
            config, "intra_op_thread_count", self._defaults.intra_op_threads, maximum=THREADS_MAX
        )


def _inter_op_threads(config: ModelConfig) -> int:
    return integer_parameter(config, "inter_op_thread_count", 1, maximum=THREADS_MAX)


def _files(source: ModelSource, version: int, config: ModelConfig) -> list[Path]:
    """What an engine will read. A file that is served alone may have anything beside it."""
    if config.backend == "identity":
        return []
    path = model_path(source, version, config)
    return [path] if source.is_file else files_beside(path)


def _shown_as(source: ModelSource, version: int, config: ModelConfig) -> str:
    if source.is_file:
        return source.path.name
    return f"{source.name}/{version}/{config.default_model_filename}"


def _same_engine(
    previous: Loaded, config: ModelConfig, files: Fingerprint | None
) -> _core.Model | None:
    """The engine of a version that is served, if it would be opened in the same way again."""
    is_same = (
        files is not None
        and files == previous.files
        and _engine_options(config) == _engine_options(previous.config)
    )
    return previous.servable.model if is_same and _is_here(previous.servable) else None


def _is_here(servable: Counted) -> TypeGuard[_core.Servable]:
    return isinstance(servable, _core.Servable)


def _engine_options(config: ModelConfig) -> tuple[object, ...]:
    """All of a config that an engine is opened with."""
    return (
        config.backend,
        config.default_model_filename,
        config.optimization,
        config.providers,
        tuple(config.parameters.get(key) for key in ENGINE_PARAMETERS.get(config.backend, ())),
    )


def _open_identity(config: ModelConfig) -> _core.Model:
    signature = declared_signature(config, "identity")
    parameters = {
        key: value for key, value in config.parameters.items() if key in ("delay_us", "repeat")
    }
    return _core.open_identity(
        _specs(signature.inputs), _specs(signature.outputs), parameters=parameters
    )


def model_path(source: ModelSource, version: int, config: ModelConfig) -> Path:
    """The file of a version. A directory of that name holds the file and its external data.

    Errors: NOT_FOUND, or PERMISSION_DENIED where it may not be looked at.
    """
    if source.is_file:
        return source.path
    directory = source.versions[version]
    path = directory / config.default_model_filename
    shown_as = _shown_as(source, version, config)
    try:
        if path.is_dir():
            path = path / config.default_model_filename
        if path.is_file():
            return path
        others = sorted(child.name for child in directory.glob("*.onnx"))
    except OSError as error:
        raise Error("PERMISSION_DENIED", f"{shown_as}: {error.strerror}") from None
    hint = f'; it holds {others[0]}: set default_model_filename: "{others[0]}"' if others else ""
    raise not_found(f"{shown_as}: no such file{hint}")


def _tensors(specs: Sequence[_core.TensorSpec]) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(spec.name, spec.datatype, tuple(spec.shape), tuple(spec.dim_names), spec.optional)
        for spec in specs
    )


def _specs(
    tensors: Sequence[Tensor], labels: Labels = MappingProxyType({})
) -> list[_core.TensorSpec]:
    return [
        _core.TensorSpec(
            tensor.name,
            tensor.datatype,
            tensor.shape,
            optional=tensor.optional,
            labels=labels.get(tensor.name, ()),
        )
        for tensor in tensors
    ]
