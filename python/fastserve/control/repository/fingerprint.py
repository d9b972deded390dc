"""What lies on disk now, by names, sizes and times, without reading it: whether it has changed, and
whether it is all there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastserve.control.repository.model_repository import ModelSource

# Files that are looked at to see whether a version has changed.
FILES_MAX = 10_000
# Of each file of a version: its path, its size, when it was written, and which one it is.
Fingerprint = tuple[tuple[str, int, int, int], ...]


def fingerprint(source: ModelSource, version: int) -> Fingerprint | None:
    """What a version and its model's config are now; None: unknown.

    A file that is replaced, written to or taken away changes it; two equal ones are the same.
    """
    files = of_files(source, version)
    return None if files is None else (*of_config(source), *files)


def of_files(source: ModelSource, version: int) -> Fingerprint | None:
    """Of the version alone; None for one with more than FILES_MAX files, or that vanishes."""
    seen = []
    try:
        for path, stat in walk(source.versions[version]):
            seen.append(_entry(path, stat))
            if len(seen) > FILES_MAX:
                return None
    except OSError:
        return None
    return tuple(sorted(seen))


def of_config(source: ModelSource) -> Fingerprint:
    if source.config_json:
        return ((source.config_json, 0, 0, 0),)
    if source.config_path is None:
        return ()
    try:
        return (_entry(str(source.config_path), os.stat(source.config_path)),)
    except OSError:
        return ()


def _entry(path: str, stat: os.stat_result) -> tuple[str, int, int, int]:
    return (path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


def walk(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    """The files of a version, which may be one itself. Errors: OSError."""
    try:
        yield from _walk(os.fspath(path))
    except NotADirectoryError:
        yield os.fspath(path), os.stat(path)


def _walk(path: str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _walk(entry.path)
            elif entry.is_file():
                yield entry.path, entry.stat()


@dataclass(frozen=True)
class Snapshot:
    """A model as it lies there: its config, and each version that can be looked at."""

    config: Fingerprint
    versions: dict[int, Fingerprint]


def snapshot(source: ModelSource) -> Snapshot:
    """A version with too many files to look at is taken to be as it is for ever."""
    return Snapshot(
        of_config(source), {version: of_files(source, version) or () for version in source.versions}
    )


def arrived_whole(path: Path) -> bool:
    """Whether a version was renamed into its place, and so is complete: its directory was changed
    after everything in it, and not by adding to it.

    A copy that sets the times of its directory when it is done looks the same, and is done. False
    where that cannot be known.
    """
    try:
        stat = os.stat(path)
        newest_ns = max((file.st_ctime_ns for _, file in walk(path)), default=0)
    except OSError:
        return False
    if os.path.isdir(path):
        return stat.st_ctime_ns > max(newest_ns, stat.st_mtime_ns)
    return stat.st_ctime_ns > stat.st_mtime_ns
