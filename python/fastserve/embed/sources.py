"""From what load() is told to what the manager loads: one source, and how it runs."""

from __future__ import annotations

import os
from dataclasses import replace

from fastserve.config.completion import ModelDefaults
from fastserve.config.model_config import ModelConfig, VersionPolicy
from fastserve.control.loading.loader import Loader
from fastserve.control.repository.model_repository import ModelSource, discover
from fastserve.embed.settings import in_python
from fastserve.errors import Error, invalid, not_found

_SHOWN_MAX = 10

Path = str | os.PathLike[str]


class VersionLoader(Loader):
    """Loads the one version that the caller named, whatever the model's version_policy chooses."""

    def __init__(self, defaults: ModelDefaults, version: int) -> None:
        super().__init__(defaults)
        self._version = version

    def read_config(self, source: ModelSource) -> ModelConfig:
        config = super().read_config(source)
        return replace(config, version_policy=VersionPolicy(specific=(self._version,)))


def loader(defaults: ModelDefaults, version: int | None) -> Loader:
    return Loader(defaults) if version is None else VersionLoader(defaults, version)


def all_sources(path: Path, name: str | None = None) -> list[ModelSource]:
    """Every model under the path. Errors: as discover()."""
    if name is not None and not name:
        raise invalid("name: expected printable characters without '/', found ''")
    try:
        return discover([os.fspath(path)], name or "")
    except Error as error:
        raise in_python(error) from None


def one_source(path: Path, name: str | None, version: int | None) -> ModelSource:
    """The one model that the path stands for; of a file, as the version that was asked for.

    Errors: as all_sources; INVALID_ARGUMENT where there are several; NOT_FOUND for a version that
    is not there.
    """
    sources = all_sources(path, name)
    if len(sources) > 1:
        names = ", ".join(source.name for source in sources[:_SHOWN_MAX])
        more = ", ..." if len(sources) > _SHOWN_MAX else ""
        raise invalid(
            f"{path}: {len(sources)} models in it: {names}{more}; load_all() loads all of them,"
            " load() the directory of one"
        )
    source = sources[0]
    if version is None:
        return source
    if isinstance(version, bool) or version < 1:
        raise invalid(f"version: expected an integer of at least 1, found {version!r}")
    if source.is_file:
        return replace(source, versions={version: source.path})
    if version not in source.versions and not source.problem:
        has = ", ".join(map(str, sorted(source.versions)))
        raise not_found(f"model '{source.name}' has no version {version}; it has {has}")
    return source
