"""StateFile: what people decided about models, so that it survives a restart.

{"fastserve_state": 1,
 "models": {"digits": {"loaded": true, "labels": {"stable": 2}, "skipped": [3]}}}
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastserve.errors import Error, invalid

_FORMAT = 1
_BYTES_MAX = 64 << 20


@dataclass(frozen=True)
class ModelState:
    is_loaded: bool = False
    labels: Mapping[str, int] = field(default_factory=dict)
    skipped: frozenset[int] = frozenset()


class StateFile:
    """Threads: any. It is replaced whole: whoever reads it finds the old one or the new one."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()

    def read(self) -> dict[str, ModelState]:
        """Nothing, before it was written for the first time.

        Errors: INVALID_ARGUMENT for one that is damaged, PERMISSION_DENIED; both name the file.
        """
        try:
            with self._path.open("rb") as file:
                text = file.read(_BYTES_MAX + 1)
        except FileNotFoundError:
            self._check_place()
            return {}
        except OSError as error:
            raise Error("PERMISSION_DENIED", f"{self._path}: {error.strerror}") from None
        try:
            return _parse(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise invalid(
                f"{self._path} is no state of models: {error}; remove it to start without it"
            ) from None

    def write(self, models: Mapping[str, ModelState]) -> None:
        """Errors: Error, and the file is as it was before."""
        text = json.dumps({"fastserve_state": _FORMAT, "models": _plain(models)}, indent=1)
        new = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            with self._lock, new.open("w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
                new.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            raise Error("INTERNAL", f"{self._path}: {error.strerror}") from None

    def _check_place(self) -> None:
        """It is better to hear at the start that it cannot be written."""
        folder = self._path.parent
        if not folder.is_dir():
            raise invalid(f"{self._path}: there is no directory {folder}")
        if not os.access(folder, os.W_OK):
            raise Error("PERMISSION_DENIED", f"{self._path}: nothing may be written in {folder}")


def _plain(models: Mapping[str, ModelState]) -> dict[str, Any]:
    return {
        name: {
            "loaded": state.is_loaded,
            "labels": dict(sorted(state.labels.items())),
            "skipped": sorted(state.skipped),
        }
        for name, state in sorted(models.items())
    }


def _parse(value: Any) -> dict[str, ModelState]:
    """Errors: ValueError."""
    if not isinstance(value, dict) or value.get("fastserve_state") != _FORMAT:
        raise ValueError(f'expected {{"fastserve_state": {_FORMAT}, "models": ...}}')
    models = _checked(value.get("models"), dict, "models")
    return {name: _parse_model(name, model) for name, model in models.items()}


def _parse_model(name: str, value: Any) -> ModelState:
    model = _checked(value, dict, name)
    labels = _checked(model.get("labels", {}), dict, f"{name}: labels")
    skipped = _checked(model.get("skipped", []), list, f"{name}: skipped")
    for version in (*labels.values(), *skipped):
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            raise ValueError(f"{name}: expected versions, found {version!r}")
    is_loaded = _checked(model.get("loaded", False), bool, f"{name}: loaded")
    return ModelState(is_loaded, labels, frozenset(skipped))


def _checked(value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{where}: expected {kind.__name__}, found {type(value).__name__}")
    return value
