"""The samples of `model_warmup`: their files, and running them.

Whoever gives samples says what the model must be able to do, so one that does not run fails the
load of that version. What is wrong with the files is found when the model is opened, before
anything is built for it.
"""

from __future__ import annotations

from pathlib import Path

from fastserve import _core
from fastserve.config.model_config import WARM_UP_BYTES_MAX, ModelConfig, WarmUpInput, WarmUpSample
from fastserve.config.warm_up import FOLDER, row_bytes
from fastserve.control.repository.model_repository import ModelSource
from fastserve.errors import Error, from_core


def check_files(source: ModelSource, config: ModelConfig) -> None:
    """Errors: INVALID_ARGUMENT with file, line and field for a file that is not there or too short
    or long."""
    for sample in config.warm_up:
        for item in sample.inputs:
            if item.file:
                _check_file(source, config, item, sample.rows)


def _check_file(source: ModelSource, config: ModelConfig, item: WarmUpInput, rows: int) -> None:
    path = _path(source, item)
    shown_as = f"{source.name}/{FOLDER}/{item.file}"
    where = f"{item.where}.input_data_file"
    try:
        found = path.stat().st_size
        is_file = path.is_file()
    except OSError as error:
        raise config.source.wrong(where, f"{shown_as}: {error.strerror}") from None
    if not is_file:
        raise config.source.wrong(where, f"{shown_as}: not a file")
    expected = row_bytes(item)
    of_a_row = f"of one row of {item.datatype} {list(item.dims)}"
    if item.datatype == "BYTES":  # Its elements are as long as their lengths say.
        if found < expected:
            raise config.source.wrong(
                where,
                f"{shown_as}: expected at least {expected} bytes {of_a_row}: each element has"
                f" 4 bytes of length in front; found {found}",
            )
        if found * rows > WARM_UP_BYTES_MAX:
            raise config.source.wrong(
                where,
                f"{shown_as}: expected at most {WARM_UP_BYTES_MAX} bytes in a sample, found"
                f" {found * rows}",
            )
    elif found != expected:
        raise config.source.wrong(
            where, f"{shown_as}: expected the {expected} bytes {of_a_row}, found {found}"
        )


def run_samples(
    servable: _core.Servable, source: ModelSource, config: ModelConfig, *, gently: bool = False
) -> None:
    """Errors: why a sample does not run, with file, line and the sample's name."""
    for sample in config.warm_up:
        try:
            _run(servable, source, sample, gently=gently)
        except OSError as error:
            raise config.source.wrong(sample.where, f"{error.filename}: {error.strerror}") from None
        except _core.CoreError as error:
            why = from_core(error)
            place = f"{config.source.at(sample.where)}: {sample.where}"
            raise Error(
                why.code, f"{place}: sample '{sample.name}' does not run: {why.message}"
            ) from None


def _run(
    servable: _core.Servable, source: ModelSource, sample: WarmUpSample, *, gently: bool
) -> None:
    inputs = [
        (
            item.name,
            item.datatype,
            item.dims,
            _path(source, item).read_bytes() if item.file else item.content,
        )
        for item in sample.inputs
    ]
    servable.warm_up_with(inputs, rows=sample.rows, count=sample.count, gently=gently)


def _path(source: ModelSource, item: WarmUpInput) -> Path:
    return source.path / FOLDER / item.file
