"""The labels of outputs: what `label_filename` names, a label a line."""

from __future__ import annotations

from collections.abc import Mapping

from fastserve.config.model_config import ModelConfig
from fastserve.control.repository.model_repository import ModelSource

# Of a file: it is kept in memory, and a million short names fit.
LABEL_BYTES_MAX = 16 << 20

Labels = Mapping[str, tuple[str, ...]]


def read_labels(source: ModelSource, config: ModelConfig) -> Labels:
    """The labels of each output that has some, by its name.

    Errors: INVALID_ARGUMENT with file, line and field for a file that is not there, too large, or
    not UTF-8.
    """
    return {
        tensor.name: _read(source, config, tensor.label_filename, f"{tensor.where}.label_filename")
        for tensor in config.outputs
        if tensor.label_filename
    }


def _read(source: ModelSource, config: ModelConfig, name: str, where: str) -> tuple[str, ...]:
    shown_as = f"{source.name}/{name}"
    try:
        with (source.path / name).open("rb") as file:
            content = file.read(LABEL_BYTES_MAX + 1)
    except OSError as error:
        raise config.source.wrong(where, f"{shown_as}: {error.strerror}") from None
    if len(content) > LABEL_BYTES_MAX:
        raise config.source.wrong(where, f"{shown_as}: expected at most {LABEL_BYTES_MAX} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise config.source.wrong(where, f"{shown_as}: expected UTF-8") from None
    # Not splitlines(), which ends a line at more than that: an index would then be another label's.
    lines = text.removesuffix("\n").split("\n") if text else []
    return tuple(line.removesuffix("\r") for line in lines)
