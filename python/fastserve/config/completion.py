"""What a model is served with: its config, completed from the model itself.

Pure: a config, a signature and the server's defaults go in, a ServedConfig comes out. The one thing
that has to be tried, whether rows of a batch are independent, is asked through `probe`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from fastserve.config.model_config import (
    ModelConfig,
    Signature,
    Tensor,
    TensorConfig,
    batch_dimension_hint,
    choice_parameter,
    type_name,
)
from fastserve.config.spelling import did_you_mean
from fastserve.config.warm_up import SIZES, check_samples
from fastserve.errors import Error, one_line

Probe = Callable[[], tuple[bool, str]]


@dataclass(frozen=True)
class ModelDefaults:
    """What holds for models whose config does not say."""

    max_batch_size: int = 32
    max_queue_delay_ns: int = 0
    instance_count: int = 1
    intra_op_threads: int = 1
    queue_depth: int = 1024
    caller_runs: str = "auto"
    load_priority: str = "low"
    warm_up_sizes: str = "powers"


@dataclass(frozen=True)
class ServedConfig:
    """Everything a Servable is made of. Shapes include the batch dimension.

    max_batch_size 0 means that the model has no batch dimension; `batching` says in a few words
    whether requests are joined, and why.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int
    joins_requests: bool
    batching: str
    max_queue_delay_ns: int
    preferred_batch_sizes: tuple[int, ...]
    instance_count: int
    queue_depth: int
    warnings: tuple[str, ...] = ()
    # At which batch sizes zeros run before it serves; the samples are the config's.
    warm_up_sizes: str = "powers"


def complete(
    config: ModelConfig, signature: Signature, defaults: ModelDefaults, probe: Probe
) -> ServedConfig:
    """Errors: INVALID_ARGUMENT, naming file and field, where config and model contradict."""
    warnings: list[str] = []
    batching = config.dynamic_batching
    if config.batching_is_automatic:
        max_batch_size, why = _decide(signature, defaults.max_batch_size, probe)
        joins = max_batch_size > 1
    else:
        max_batch_size = config.max_batch_size or 0
        joins = max_batch_size > 1 and batching is not None
        why = _reason(config, max_batch_size)
    if batching is not None and not joins:
        where = config.source.at("dynamic_batching")
        warnings.append(one_line(f"{where}: dynamic_batching has no effect: {why}"))
    _check_batch_dimension(config, signature, max_batch_size)
    inputs = _tensors(config, "input", config.inputs, signature.inputs, max_batch_size > 0)
    outputs = _tensors(config, "output", config.outputs, signature.outputs, max_batch_size > 0)
    preferred = batching.preferred_batch_sizes if batching and joins else ()
    for size in preferred:
        if size > max_batch_size:
            raise config.source.wrong(
                "dynamic_batching.preferred_batch_size",
                f"{size} is above the largest batch, which is {max_batch_size}",
            )
    check_samples(config, inputs, max_batch_size)
    delay_ns = batching.max_queue_delay_ns if batching else defaults.max_queue_delay_ns
    return ServedConfig(
        inputs=inputs,
        outputs=outputs,
        max_batch_size=max_batch_size,
        joins_requests=joins,
        batching=f"up to {max_batch_size} rows, {why}" if joins else f"off: {why}",
        max_queue_delay_ns=delay_ns if joins else 0,  # There is nobody to wait for.
        preferred_batch_sizes=preferred,
        instance_count=config.instance_count or defaults.instance_count,
        queue_depth=config.queue_depth or defaults.queue_depth,
        warm_up_sizes=choice_parameter(config, "warm_up_sizes", defaults.warm_up_sizes, SIZES),
        warnings=tuple(warnings),
    )


def _decide(signature: Signature, max_batch_size: int, probe: Probe) -> tuple[int, str]:
    """Without a word in a config, requests are joined only where a try shows that it is right."""
    if max_batch_size < 2:
        return 0, "--max-batch is below 2"
    if not signature.inputs:
        return 0, "the model has no inputs"
    tensors = signature.inputs + signature.outputs
    for tensor in tensors:
        if not tensor.shape or tensor.shape[0] != -1:
            return 0, f"the first dimension of '{tensor.name}' is fixed"
    names = {tensor.dim_names[0] for tensor in tensors if tensor.dim_names and tensor.dim_names[0]}
    if len(names) > 1:
        return 0, f"first dimensions differ: {', '.join(sorted(names))}"
    independent, why = probe()
    return (max_batch_size, why) if independent else (0, why)


def _reason(config: ModelConfig, max_batch_size: int) -> str:
    if config.max_batch_size is None:
        return "the config has no max_batch_size"
    if max_batch_size == 0:
        return "max_batch_size is 0"
    if max_batch_size == 1:
        return "max_batch_size is 1"
    if config.dynamic_batching is None:
        return "the config has no dynamic_batching"
    return "as configured"


def _check_batch_dimension(config: ModelConfig, signature: Signature, max_batch_size: int) -> None:
    if max_batch_size == 0:
        return
    for kind, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        for tensor in tensors:
            if not tensor.shape or tensor.shape[0] != -1:
                raise config.source.wrong(
                    "max_batch_size",
                    f"expected 0, found {max_batch_size}: the first dimension of {kind}"
                    f" '{tensor.name}' is fixed in the model, its shape is {list(tensor.shape)}",
                )


def _tensors(
    config: ModelConfig,
    kind: str,
    said: tuple[TensorConfig, ...],
    model: tuple[Tensor, ...],
    batched: bool,
) -> tuple[Tensor, ...]:
    """The tensors as served, in the model's order.

    Inputs that the config leaves out are served as the model has them; outputs are served all, or
    only those that the config lists.
    """
    by_name = {tensor.name: tensor for tensor in model}
    chosen: dict[str, Tensor] = {}
    for item in said:
        if item.name not in by_name:
            guess = did_you_mean(item.name, by_name)
            has = ", ".join(f"'{name}'" for name in by_name)
            raise config.source.wrong(
                f"{item.where}.name",
                f"the model has no {kind} '{item.name}'{guess or f'; it has {has}'}",
            )
        chosen[item.name] = _merge(config, kind, item, by_name[item.name], batched)
    keep_all = kind == "input" or not said
    return tuple(
        chosen.get(tensor.name, tensor) for tensor in model if keep_all or tensor.name in chosen
    )


def _merge(
    config: ModelConfig, kind: str, item: TensorConfig, tensor: Tensor, batched: bool
) -> Tensor:
    """One tensor: the config may narrow what the model leaves open, and contradict nothing."""
    if item.datatype and item.datatype != tensor.datatype:
        raise config.source.wrong(
            f"{item.where}.data_type",
            f"{kind} '{tensor.name}': expected {type_name(tensor.datatype)} as in the model,"
            f" found {type_name(item.datatype)}",
        )
    if item.optional and not tensor.optional:
        raise config.source.wrong(
            f"{item.where}.optional", f"input '{tensor.name}': the model cannot run without it"
        )
    if item.dims is None:
        return tensor
    open_dims = tensor.shape[1:] if batched else tensor.shape
    fits = len(open_dims) == len(item.dims) and all(
        want in (-1, found) for want, found in zip(open_dims, item.dims, strict=True)
    )
    if not fits:
        raise _dims_error(config, kind, item, tensor, open_dims, batched)
    shape = (-1, *item.dims) if batched else item.dims
    return replace(tensor, shape=shape)


def _dims_error(
    config: ModelConfig,
    kind: str,
    item: TensorConfig,
    tensor: Tensor,
    open_dims: tuple[int, ...],
    batched: bool,
) -> Error:
    found = list(item.dims or ())
    hint = batch_dimension_hint(open_dims, found, batched)
    return config.source.wrong(
        f"{item.where}.dims",
        f"{kind} '{tensor.name}': expected {list(open_dims)} as in the model, found {found}{hint}",
    )


def declared_signature(config: ModelConfig, platform: str) -> Signature:
    """The signature of a backend that has no model file: what the config declares.

    Errors: INVALID_ARGUMENT where a tensor, its type or its dims are missing.
    """
    if not config.inputs or not config.outputs:
        raise config.source.wrong(
            "", f"backend '{config.backend}' has no model file: write its input and output here"
        )
    if len(config.inputs) != len(config.outputs):
        raise config.source.wrong(
            "output",
            f"backend '{config.backend}' answers output i with input i: expected"
            f" {len(config.inputs)} outputs, found {len(config.outputs)}",
        )
    batched = bool(config.max_batch_size)

    def declare(item: TensorConfig) -> Tensor:
        if not item.datatype:
            raise config.source.wrong(item.where, f"'{item.name}': expected a data_type")
        if item.dims is None:
            raise config.source.wrong(item.where, f"'{item.name}': expected dims")
        shape = (-1, *item.dims) if batched else item.dims
        return Tensor(item.name, item.datatype, shape, optional=item.optional)

    return Signature(
        platform, tuple(map(declare, config.inputs)), tuple(map(declare, config.outputs))
    )
