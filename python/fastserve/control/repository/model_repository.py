"""ModelRepository: which models and versions lie under the given paths.

    model.onnx                                    one file: a model with version 1
    digits/[config.pbtxt]/<version>/model.onnx    one model's directory
    models/digits/...                             a repository of such directories

Version directories are named by an integer that does not begin with 0; others are ignored. Only
names are looked at here: no config is read and no model opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fastserve.config.spelling import did_you_mean
from fastserve.errors import Error, invalid, not_found, one_line

CONFIG_FILENAME = "config.pbtxt"
TAKES = "expected an .onnx file, a model's directory or a repository of such directories"


@dataclass(frozen=True)
class ModelSource:
    """One model on disk. `versions` maps to directories, or to the file itself if `is_file`.

    `problem` says why it cannot be served; it is found out without opening anything.
    """

    name: str
    path: Path
    versions: dict[int, Path] = field(default_factory=dict)
    config_path: Path | None = None
    is_file: bool = False
    problem: str = ""

    @property
    def config_shown_as(self) -> str:
        """How messages name the config: short, and enough to find it."""
        return f"{self.path.name}/{CONFIG_FILENAME}"


# Files that are looked at to see whether a version has changed; one with more is always taken for
# a new one.
FILES_MAX = 10_000
# Of each file of a version: its path, its size, when it was written, and which one it is.
Fingerprint = tuple[tuple[str, int, int, int], ...]


def fingerprint(source: ModelSource, version: int) -> Fingerprint | None:
    """What a version and its model's config are now, without reading them; None: unknown.

    A file that is replaced, written to or taken away changes it; two equal ones are the same.
    """
    seen = []
    try:
        for path in _files_of(source, version):
            stat = path.stat()
            seen.append((str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino))
            if len(seen) > FILES_MAX:
                return None
    except OSError:
        return None
    return tuple(sorted(seen))


def _files_of(source: ModelSource, version: int) -> Iterator[Path]:
    if source.config_path is not None:
        yield source.config_path
    path = source.versions[version]
    if path.is_file():
        yield path
    else:
        yield from (child for child in path.rglob("*") if child.is_file())


def find(paths: Sequence[str], name: str, only_name: str = "") -> ModelSource:
    """The one model of that name under `paths`, as it lies there now; `only_name` as in discover().

    Errors: NOT_FOUND with a guess; FAILED_PRECONDITION when two paths have it. What is wrong with
    other models, or with paths that do not have it, is no matter.
    """
    found: list[ModelSource] = []
    names: list[str] = []
    for path in paths:
        try:
            sources = discover([path], only_name)
        except Error:
            continue
        found += [source for source in sources if source.name == name]
        names += [source.name for source in sources]
    if not found:
        raise not_found(
            f"there is no model '{name}' in {', '.join(paths)}{did_you_mean(name, names)}"
        )
    if len(found) > 1:
        raise Error(
            "FAILED_PRECONDITION",
            f"two models are called '{name}': {found[0].path} and {found[1].path}; rename one",
        )
    return found[0]


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
        models = sorted(p for p in path.iterdir() if p.is_dir() and not _is_hidden(p.name))
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


def _versions(path: Path) -> dict[int, Path]:
    return {
        int(child.name): child
        for child in sorted(path.iterdir())
        if child.is_dir() and is_version(child.name)
    }


def is_version(name: str) -> bool:
    return name.isascii() and name.isdigit() and not name.startswith("0") and len(name) < 19


def _is_model(path: Path) -> bool:
    """A directory with a config, or with versions that are not models themselves.

    The second half is for a repository with a model called "7".
    """
    if (path / CONFIG_FILENAME).is_file():
        return True
    versions = _versions(path).values()
    return any(not (v / CONFIG_FILENAME).is_file() and not _versions(v) for v in versions)


def _model(path: Path) -> ModelSource:
    if not path.name.isprintable():
        name = one_line(path.name)
        problem = f"{name}: expected a name of printable characters; rename it"
        return ModelSource(name, path, problem=problem)
    # Paths such as "." and "models/.." have no name of their own.
    path = path if path.name not in ("", "..") else path.resolve()
    config = path / CONFIG_FILENAME
    try:
        versions = _versions(path)
    except OSError as error:
        return ModelSource(path.name, path, problem=f"{path}: {error.strerror}")
    problem = ""
    if not versions:
        problem = f"{path.name}: no version directory in it; expected {path.name}/1/model.onnx"
    found = config if config.is_file() else None
    return ModelSource(path.name, path, versions, found, problem=problem)
