"""ModelRepository: which models and versions lie under the given paths.

    model.onnx                                    one file: a model with version 1
    digits/[config.pbtxt]/<version>/model.onnx    one model's directory
    models/digits/...                             a repository of such directories

Version directories are named by an integer that does not begin with 0; others are ignored. Only
names are looked at here: no config is read and no model opened.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fastserve.config.spelling import did_you_mean
from fastserve.errors import Error, invalid, not_found, one_line

CONFIG_FILENAME = "config.pbtxt"
TAKES = "expected an .onnx file, a model's directory or a repository of such directories"


@dataclass(frozen=True)
class ModelSource:
    """One model on disk. `versions` maps to directories, or to the file itself if `is_file`.

    `problem` says why it cannot be served, `warnings` what is passed over; both are found out
    without opening anything.
    """

    name: str
    path: Path
    versions: dict[int, Path] = field(default_factory=dict)
    config_path: Path | None = None
    is_file: bool = False
    problem: str = ""
    warnings: tuple[str, ...] = ()
    config_json: str = ""  # Instead of a config's file: it came in a request.

    @property
    def config_shown_as(self) -> str:
        """How messages name the config: short, and enough to find it."""
        return f"{self.path.name}/{CONFIG_FILENAME}" if not self.config_json else "config"


@dataclass(frozen=True)
class Root:
    """One of the given paths, as it is now: the models under it, or why it cannot be looked at."""

    path: str
    sources: tuple[ModelSource, ...] = ()
    problem: Error | None = None


@dataclass(frozen=True)
class Listing:
    """What lay under the paths, and when they were last written to; () if that may not tell."""

    roots: tuple[Root, ...]
    written_ns: tuple[int, ...]


# A directory's time of writing moves in steps: one this old would move if it were written to now.
_STEP_NS = 2 * 10**9


@dataclass(frozen=True)
class ModelRepository:
    """The paths that a server was given. Looking at them opens nothing; any thread."""

    paths: tuple[str, ...]
    only_name: str = ""  # As in discover().

    def look(self) -> list[Root]:
        """Each path for itself: what is wrong with one is no matter to the others. A name that is
        there twice has a problem and no versions, both times."""
        roots = []
        for path in self.paths:
            try:
                found = discover([path], self.only_name, may_be_empty=True)
                roots.append(Root(path, tuple(found)))
            except Error as error:
                roots.append(Root(path, problem=error))
        return _without_twins(roots)

    def look_for_names(self, before: Listing | None) -> Listing:
        """As look(), for whoever wants to know of new models alone: `before` itself where none can
        have come or gone since."""
        try:
            written_ns = tuple(os.stat(path).st_mtime_ns for path in self.paths)
        except OSError:
            written_ns = ()
        if before is not None and written_ns and written_ns == before.written_ns:
            return before
        is_old = written_ns and abs(time.time_ns() - max(written_ns)) > _STEP_NS
        return Listing(tuple(self.look()), written_ns if is_old else ())

    def find(self, name: str) -> ModelSource:
        """The one model of that name, as it lies there now.

        Errors: NOT_FOUND with a guess; FAILED_PRECONDITION when two paths have it. What is wrong
        with other models, or with paths that do not have it, is no matter.
        """
        sources = [source for root in self.look() for source in root.sources]
        for source in sources:
            if source.name == name:
                return source
        names = [source.name for source in sources]
        raise not_found(
            f"there is no model '{name}' in {', '.join(self.paths)}{did_you_mean(name, names)}"
        )


def _without_twins(roots: list[Root]) -> list[Root]:
    places: dict[str, list[Path]] = {}
    for source in (source for root in roots for source in root.sources):
        places.setdefault(source.name, []).append(source.path)

    def alone(source: ModelSource) -> ModelSource:
        first, *others = places[source.name]
        if not others:
            return source
        problem = f"two models are called '{source.name}': {first} and {others[0]}; rename one"
        return ModelSource(source.name, source.path, problem=problem)

    return [replace(root, sources=tuple(map(alone, root.sources))) for root in roots]


def discover(
    paths: Sequence[str], name: str = "", *, may_be_empty: bool = False
) -> list[ModelSource]:
    """All models under `paths`, in order of path and name.

    `may_be_empty`: a repository may have none, since some may be put there later.

    Errors: NOT_FOUND for a path that does not exist or holds no model; INVALID_ARGUMENT for one
    that is nothing to serve, for two models of one name, and for a `name` that has no one file.
    """
    if not paths:
        raise invalid(f"nothing to serve: {TAKES}; try: fastserve run model.onnx")
    sources = [source for path in paths for source in _discover_one(Path(path), may_be_empty)]
    if name:
        if "/" in name or name in (".", "..") or not name.isprintable():
            raise invalid(f"--name {name}: expected printable characters without '/'")
        if len(sources) != 1 or not sources[0].is_file:
            raise invalid(
                f"--name {name}: works with one .onnx file; the models of a repository"
                " are called after their directories"
            )
        only = sources[0]
        sources = [ModelSource(name, only.path, only.versions, is_file=True)]
    _check_names(sources)
    return sources


def _check_names(sources: Sequence[ModelSource]) -> None:
    by_name: dict[str, ModelSource] = {}
    for source in sources:
        other = by_name.setdefault(source.name, source)
        if other is not source:
            raise invalid(
                f"two models are called '{source.name}': {other.path} and {source.path};"
                " rename one of them, or serve one file alone with --name"
            )


def _discover_one(path: Path, may_be_empty: bool) -> list[ModelSource]:
    try:
        if not path.exists():
            raise not_found(f"{path}: no such file or directory; {TAKES}")
        if not path.is_dir():
            return [_file(path)]
        if _is_model(path):
            return [_model(path)]
        models = [path / name for name in _directories(path) if not _is_hidden(name)]
    except OSError as error:
        raise Error("PERMISSION_DENIED", f"{error.filename or path}: {error.strerror}") from None
    if not models and not may_be_empty:
        loose = sorted(p.name for p in path.glob("*.onnx"))
        hint = f"; to serve the file in it: fastserve run {path / loose[0]}" if loose else ""
        raise not_found(f"{path}: no models in it; {TAKES}{hint}")
    return [_model(model) for model in models]


def _is_hidden(name: str) -> bool:
    """Also what the file system itself puts at the root of a volume."""
    return name.startswith(".") or name == "lost+found"


def _file(path: Path) -> ModelSource:
    if path.suffix != ".onnx" or not path.is_file():
        raise invalid(f"{path}: not an .onnx file; {TAKES}")
    if not path.name.isprintable():
        raise invalid(f"{path}: expected a name of printable characters; rename it")
    return ModelSource(path.stem, path, {1: path}, is_file=True)


def _directories(path: Path) -> list[str]:
    """Names, in order. A repository of hundreds of models is looked at again and again, which is
    why nothing is asked twice here. Errors: OSError."""
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if _is_directory(entry))


def _is_directory(entry: os.DirEntry[str]) -> bool:
    """A link that leads nowhere, or to itself, is none."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise


_ALMOST_A_VERSION = re.compile(r"v?\d[\d.]*", re.ASCII | re.IGNORECASE)


def _passed_over(model: str, directories: Sequence[str]) -> tuple[str, ...]:
    """Directories that somebody may have meant to be versions."""
    return tuple(
        one_line(
            f"{model}/{name} is no version: expected an integer from 1 without zeros before it; it"
            " is passed over"
        )
        for name in directories
        if _ALMOST_A_VERSION.fullmatch(name) and not is_version(name)
    )


def is_version(name: str) -> bool:
    return name.isascii() and name.isdigit() and not name.startswith("0") and len(name) < 19


def _is_model(path: Path) -> bool:
    """A directory with a config, or with versions that are not models themselves.

    The second half is for a repository with a model called "7".
    """
    if (path / CONFIG_FILENAME).is_file():
        return True
    versions = [path / name for name in _directories(path) if is_version(name)]
    return any(
        not (v / CONFIG_FILENAME).is_file() and not any(map(is_version, _directories(v)))
        for v in versions
    )


def _model(path: Path) -> ModelSource:
    if not path.name.isprintable():
        name = one_line(path.name)
        problem = f"{name}: expected a name of printable characters; rename it"
        return ModelSource(name, path, problem=problem)
    # Paths such as "." and "models/.." have no name of their own.
    path = path if path.name not in ("", "..") else path.resolve()
    config = path / CONFIG_FILENAME
    try:
        directories = _directories(path)
        found = config if config.is_file() else None
    except OSError as error:
        return ModelSource(path.name, path, problem=f"{path}: {error.strerror}")
    versions = {int(name): path / name for name in directories if is_version(name)}
    versions = dict(sorted(versions.items()))
    warnings = _passed_over(path.name, directories)
    problem = ""
    if not versions:
        problem = f"{path.name}: no version directory in it; expected {path.name}/1/model.onnx"
        problem = "; ".join((problem, *warnings))
    return ModelSource(path.name, path, versions, found, problem=problem, warnings=warnings)
