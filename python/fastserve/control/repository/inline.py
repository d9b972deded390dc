"""A model that came with the request to load it: its config, and perhaps its files.

The files are written to a temporary directory that is laid out as a repository's, so that whatever
loads them finds what it knows.
"""

from __future__ import annotations

import base64
import binascii
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from fastserve.control.repository.model_repository import (
    ModelRepository,
    ModelSource,
    is_version,
)
from fastserve.errors import Error, invalid

FILES_MAX = 1000
_NAME_BYTES_MAX = 200  # A component of a path may have 255.
_FILE = "file:"


@dataclass(frozen=True)
class Inline:
    """What a request says about a model. `files` are by path: 1/model.onnx."""

    config_json: str
    files: Mapping[str, bytes]

    def put(self, repository: ModelRepository, name: str) -> ModelSource:
        """The model that this describes. One without files has those that the repository has.

        Errors: NOT_FOUND without files; RESOURCE_EXHAUSTED where the disk is full. Blocks.
        """
        if not self.files:
            return replace(repository.find(name), config_json=self.config_json)
        _check_model_name(name)
        try:
            root = Path(tempfile.mkdtemp(prefix="fastserve-inline-")) / name
        except OSError as error:
            raise _unwritable(error) from None
        versions = {int(PurePosixPath(path).parts[0]) for path in self.files}
        source = ModelSource(
            name,
            root,
            {version: root / str(version) for version in sorted(versions)},
            config_json=self.config_json,
        )
        try:
            for path, content in self.files.items():
                target = root / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        except OSError as error:
            self.take_away(source)
            raise _unwritable(error) from None
        return source

    def take_away(self, source: ModelSource) -> None:
        """Remove what put() wrote. An engine that has opened the files keeps what it has."""
        if self.files:
            shutil.rmtree(source.path.parent, ignore_errors=True)


def from_parameters(parameters: Mapping[str, object]) -> Inline | None:
    """What the parameters of a load say, in Triton's words; None where they say nothing.

    Errors: INVALID_ARGUMENT.
    """
    rest = dict(parameters)
    config = rest.pop("config", None)
    encoded = {key: rest.pop(key) for key in list(rest) if key.startswith(_FILE)}
    if rest:
        raise invalid(f"unknown parameter '{next(iter(rest))}', expected 'config' or 'file:...'")
    if config is None:
        if encoded:
            raise invalid("files of a model come with its 'config', as for Triton; found none")
        return None
    if not isinstance(config, str):
        raise invalid("config: expected a text that holds JSON")
    if len(encoded) > FILES_MAX:
        raise invalid(f"expected at most {FILES_MAX} files, found {len(encoded)}")
    files = {_path(key.removeprefix(_FILE)): _decode(key, text) for key, text in encoded.items()}
    _check_tree(files)
    return Inline(config, files)


def _path(written: str) -> str:
    parts = written.split("/")
    is_fine = (
        len(parts) > 1
        and is_version(parts[0])
        and all(part.isprintable() and part not in ("", ".", "..") for part in parts)
        and all(len(part.encode()) <= _NAME_BYTES_MAX for part in parts)
    )
    if not is_fine:
        raise invalid(f"{_FILE}{written[:100]}: expected file:VERSION/NAME, as file:1/model.onnx")
    return written


def _decode(key: str, text: object) -> bytes:
    if isinstance(text, bytes):  # As it comes over gRPC.
        return text
    try:
        if not isinstance(text, str):
            raise TypeError
        return base64.b64decode(text, validate=True)
    except (TypeError, binascii.Error, ValueError):
        raise invalid(f"{key[:100]}: expected a text in base64") from None


def _check_tree(files: Mapping[str, bytes]) -> None:
    """No file may be another one's directory."""
    for path in files:
        for parent in PurePosixPath(path).parents:
            if str(parent) in files:
                raise invalid(f"{_FILE}{path}: {_FILE}{parent} is a file already")


def _unwritable(error: OSError) -> Error:
    return Error("RESOURCE_EXHAUSTED", f"the files could not be written: {error.strerror}")


def _check_model_name(name: str) -> None:
    is_fine = name.isprintable() and not name.startswith(".") and "/" not in name
    if not is_fine or len(name.encode()) > _NAME_BYTES_MAX:
        raise invalid("expected as name of a model printable characters without '/', not too many")
