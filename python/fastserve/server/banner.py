"""What a person sees when the server is up: what is served, where, and how to try it."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastserve import __version__
from fastserve.config.model_config import Tensor
from fastserve.config.options import Options
from fastserve.config.units import format_duration_ns
from fastserve.control.loading.loader import Loaded
from fastserve.control.model import Model
from fastserve.server import logs

# FP16 and BF16 cannot travel as JSON.
_JSON_ZERO = {"BOOL": "false", "BYTES": '"text"'}
_NOT_JSON = ("FP16", "BF16")
# Above it a curl line would not fit the screen, and zeros come from printf.
_VALUES_WRITTEN_OUT = 16
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def show(options: Options, url: str, models: Sequence[Model]) -> None:
    if options.log_format == "json":
        logs.info(f"serving at {url}", fields(url, models))
    elif logs.shows_info():
        shown = text(
            url,
            options.host,
            models,
            unix_socket=options.unix_socket,
            colours=logs.has_colours(sys.stderr),
        )
        print(f"\n{shown}", file=sys.stderr, flush=True)  # noqa: T201 It is the banner.


def say_not_served(models: Sequence[Model]) -> None:
    """An error in the log for each version, and each model, with the reason."""
    for model in models:
        for number, state in sorted(model.states.items()):
            if state.reason:
                logs.error(f"{model.name} version {number} is not served: {state.reason}")
        if model.problem:
            logs.error(f"{model.name} is not served: {model.problem}")


def text(
    url: str,
    host: str,
    models: Sequence[Model],
    *,
    unix_socket: str = "",
    colours: bool = False,
) -> str:
    def paint(words: str, colour: str) -> str:
        return logs.paint(words, colour) if colours else words

    where = paint(url, "1") + (f" and {unix_socket}" if unix_socket else "")
    started = f", ready in {format_duration_ns(age_ns())}"
    lines = [f"fastserve {__version__} is serving at {where}{started}", ""]
    width = max((len(model.name) for model in models), default=0)
    not_served = paint("NOT SERVED", "31")
    for model in models:
        for version in sorted(model.loaded):
            lines += _describe(model.loaded[version], width)
        for version, state in sorted(model.states.items()):
            if state.reason:
                lines.append(
                    f"  {model.name:<{width}}  version {version} {not_served}: {state.reason}"
                )
        if model.problem:
            lines.append(f"  {model.name:<{width}}  {not_served}: {model.problem}")
    lines.append("")
    example = next((try_line(url, m.loaded[v]) for m in models for v in sorted(m.loaded)), "")
    if example:
        lines.append(f"  try     {example}")
    lines.append(f"  see     {url}/docs  {url}/metrics")
    if host in LOOPBACK:
        lines.append(
            "  expose  only this machine can reach it; --host 0.0.0.0 opens it to everybody who"
            " reaches this one, as there is no authentication yet"
        )
    else:
        lines.append(
            "  beware  everybody who reaches this address may use it: no authentication yet"
        )
    return "\n".join(lines) + "\n"


def age_ns() -> int:
    """How long ago this process was started: what a person waited, interpreter and all."""
    try:
        stat = Path("/proc/self/stat").read_text()
        # The command's name may hold spaces; what follows it may not.
        ticks = int(stat.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return time.process_time_ns()
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - ticks * 10**9 // os.sysconf("SC_CLK_TCK")


def fields(url: str, models: Sequence[Model]) -> dict[str, Any]:
    """The same for a JSON log line."""
    return {
        "event": "serving",
        "version": __version__,
        "url": url,
        "ready_ms": round(age_ns() / 1e6, 1),
        "models": [
            {
                "name": model.name,
                "version": version,
                "state": state.state,
                **({"reason": state.reason} if state.reason else {}),
                **_loaded_fields(model.loaded.get(version)),
            }
            for model in models
            for version, state in sorted(model.states.items())
        ]
        + [{"name": m.name, "state": "FAILED", "reason": m.problem} for m in models if m.problem],
    }


def _loaded_fields(loaded: Loaded | None) -> dict[str, Any]:
    if loaded is None:
        return {}
    return {
        "platform": loaded.platform,
        "batching": loaded.served.batching,
        "load_ms": round(loaded.load_ns / 1e6, 1),
    }


def _describe(loaded: Loaded, width: int) -> list[str]:
    served = loaded.served
    instances = f", {served.instance_count} instances" if served.instance_count > 1 else ""
    lines = [
        f"  {loaded.name:<{width}}  version {loaded.version}  {loaded.platform}{instances}"
        f"  loaded in {format_duration_ns(loaded.load_ns)}",
        f"  {'':<{width}}  batching {served.batching}",
    ]
    for word, tensors in (("takes", served.inputs), ("gives", served.outputs)):
        lines += [f"  {'':<{width}}  {word} {describe_tensor(tensor)}" for tensor in tensors]
    return lines


def describe_tensor(tensor: Tensor) -> str:
    optional = " (optional)" if tensor.optional else ""
    return f"{tensor.name} {tensor.datatype} {list(tensor.shape)}{optional}"


def try_line(url: str, loaded: Loaded) -> str:
    """A command that works as it stands, in any POSIX shell with curl."""
    from urllib.parse import quote  # For once, when the models are there.

    base = f"{url}/v2/models/{quote(loaded.name, safe='')}"
    required = [tensor for tensor in loaded.served.inputs if not tensor.optional]
    if any(tensor.datatype in _NOT_JSON for tensor in required):
        return f"curl -s '{base}'"
    inputs = ",".join(_input(tensor) for tensor in required)
    return f"curl -s '{base}/infer' -d '{{\"inputs\":[{inputs}]}}'"


def _input(tensor: Tensor) -> str:
    shape = [1 if dim < 0 else dim for dim in tensor.shape]
    count = math.prod(shape)
    zero = _JSON_ZERO.get(tensor.datatype, "0")
    if count <= _VALUES_WRITTEN_OUT:
        data = ",".join([zero] * count)
    else:
        # Leaves the quotes of the shell for a moment to let it write the zeros.
        data = f"'\"$(printf '{zero},%.0s' $(seq {count - 1}))\"'{zero}"
    dims = ",".join(map(str, shape))
    name = json.dumps(tensor.name).replace("'", "'\\''")
    return f'{{"name":{name},"datatype":"{tensor.datatype}","shape":[{dims}],"data":[{data}]}}'
