"""PollingSource: looks at the repository now and then, and asks for what is new there.

Only complete versions are seen: those that were renamed into their place, and those that have
stayed the same while two looks at their bytes found the same. One model's trouble is its own: what
failed is tried again later and later, and at once when its files change.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from fastserve.config.units import format_duration_ns
from fastserve.control.loading.reading import checksum_version
from fastserve.control.manager import Manager, OnWarning
from fastserve.control.model import Model
from fastserve.control.model_control import ModelControl
from fastserve.control.repository.fingerprint import (
    Fingerprint,
    Snapshot,
    arrived_whole,
    snapshot,
    walk,
)
from fastserve.control.repository.model_repository import ModelRepository, ModelSource, Root
from fastserve.errors import Error

# Between two looks at what is not complete yet.
SETTLE_S = 2.0
BACKOFF_MAX_S = 300.0


@dataclass
class _Version:
    """What was seen of a version's files, and whether they are all there."""

    files: Fingerprint
    is_complete: bool = False
    first: Future[str] | None = None  # Checksums, one after the other.
    second: Future[str] | None = None


@dataclass
class _Seen:
    """What was seen of a model, and what came of it."""

    root: str
    is_known: bool = False  # It was looked at before.
    config: Fingerprint = ()
    versions: dict[int, _Version] = field(default_factory=dict)
    applied: Snapshot | None = None
    load: Future[object] | None = None
    failures: int = 0
    retry_at_s: float = 0.0


class PollingSource:
    """Threads: start() and close() any; look() is the one thread's that start() makes."""

    def __init__(
        self,
        repository: ModelRepository,
        manager: Manager,
        control: ModelControl,
        interval_s: float,
        on_warning: OnWarning,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """What `manager` knows by now is taken to be as it lies there now."""
        self._repository = repository
        self._manager = manager
        self._control = control
        self._interval_s = interval_s
        self._on_warning = on_warning
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._troubles: dict[str, str] = {}  # Of whole paths, as they were told.
        self._stop = threading.Event()
        # Reading may take long, and never return: other models are looked at meanwhile.
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="checksum")
        for root in repository.look():
            for source in root.sources:
                if source.name in manager.models:
                    self._seen[source.name] = _loaded_at_start(root.path, source)

    def start(self) -> None:
        threading.Thread(target=self._run, name="poll", daemon=True).start()

    def close(self) -> None:
        self._stop.set()
        self._reading.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        wait_s = self._interval_s
        while not self._stop.wait(wait_s):
            try:
                is_restless = self.look()
            except Exception as error:  # noqa: BLE001 The next look may find it better.
                self._on_warning(f"looking at the repository failed: {error!r}")
                is_restless = False
            wait_s = min(self._interval_s, SETTLE_S) if is_restless else self._interval_s

    def look(self) -> bool:
        """Ask for what has changed since; whether something is on its way and wants another look
        soon."""
        is_restless = False
        for root in self._repository.look():
            if self._is_in_trouble(root):
                continue
            names = {source.name for source in root.sources}
            for name in [n for n, s in self._seen.items() if s.root == root.path]:
                if name not in names:
                    del self._seen[name]
                    self._control.remove(name)
            for source in root.sources:
                seen = self._seen.setdefault(source.name, _Seen(root.path))
                is_restless |= self._look_at(seen, source)
        return is_restless

    def _is_in_trouble(self, root: Root) -> bool:
        """A path that cannot be read, or is empty all at once, is taken for a volume that is gone:
        what is served from it goes on."""
        trouble = root.problem.message if root.problem else ""
        had_some = any(seen.root == root.path for seen in self._seen.values())
        if had_some and not root.sources and not trouble:
            trouble = f"{root.path}: no models in it any more"
        if trouble and trouble != self._troubles.get(root.path):
            self._on_warning(f"{trouble}; what is served from there goes on")
        self._troubles[root.path] = trouble
        return bool(trouble)

    def _look_at(self, seen: _Seen, source: ModelSource) -> bool:
        """Whether it wants another look soon."""
        model = self._manager.models.get(source.name)
        self._note_end(seen, source.name, model)
        if seen.load is not None:
            return True
        now = snapshot(source)
        is_first, seen.is_known = not seen.is_known, True
        is_new = now.config != seen.config
        seen.config = now.config
        seen.versions = {
            version: self._see(seen.versions.get(version), files, source.versions[version])
            for version, files in now.versions.items()
        }
        complete = {version for version, one in seen.versions.items() if one.is_complete}
        served = set(model.ready_versions()) if model is not None else set()
        is_rewritten = any(v in served and v not in complete for v in seen.versions)
        is_unfinished = len(complete) < len(seen.versions)
        is_vague = is_first and bool(source.problem)  # Perhaps it is only just being made.
        if is_rewritten or is_vague or (is_unfinished and not complete):
            return True
        if is_new and not is_first:  # The config: wait until it has been written.
            return True
        shown = Snapshot(now.config, {version: now.versions[version] for version in complete})
        is_due = seen.failures > 0 and self._clock() >= seen.retry_at_s
        if shown != seen.applied or is_due:
            seen.applied = shown
            versions = {v: p for v, p in source.versions.items() if v in complete}
            seen.load = self._control.apply(replace(source, versions=versions))
        return is_unfinished or seen.load is not None

    def _see(self, before: _Version | None, files: Fingerprint, path: Path) -> _Version:
        if before is None or before.files != files:
            return _Version(files, is_complete=arrived_whole(path))
        if before.is_complete:
            return before
        if before.first is None:
            before.first = self._read(path)
        elif before.first.done() and before.second is None:
            before.second = self._read(path)
        elif before.second is not None and before.second.done():
            if _text(before.first) and _text(before.first) == _text(before.second):
                before.is_complete = True
            else:
                before.first = before.second = None
        return before

    def _read(self, path: Path) -> Future[str]:
        return self._reading.submit(lambda: checksum_version(Path(file) for file, _ in walk(path)))

    def _note_end(self, seen: _Seen, name: str, model: Model | None) -> None:
        """What has come of the last attempt, which was the server's start if there was no other."""
        if seen.load is None:
            if seen.failures == 0 and model is not None and model.attempted and model.failure:
                self._put_off(seen, name, model, model.failure)
        elif seen.load.done():
            error = None if seen.load.cancelled() else seen.load.exception()
            seen.load = None
            if error is None:
                seen.failures = 0
            else:
                self._put_off(seen, name, model, error)

    def _put_off(self, seen: _Seen, name: str, model: Model | None, error: BaseException) -> None:
        wait_s = min(self._interval_s * 2**seen.failures, BACKOFF_MAX_S)
        seen.failures += 1
        seen.retry_at_s = self._clock() + wait_s
        outlook = (
            f"tried at {time.strftime('%H:%M:%S')}, the next time"
            f" {format_duration_ns(round(wait_s * 1e9))} later or when its files change"
        )
        if model is not None:
            model.outlook = outlook
        reason = error.message if isinstance(error, Error) else repr(error)
        self._on_warning(f"model '{name}' was not loaded: {reason}; {outlook}")


def _loaded_at_start(root: str, source: ModelSource) -> _Seen:
    now = snapshot(source)
    versions = {v: _Version(files, is_complete=True) for v, files in now.versions.items()}
    return _Seen(root, True, now.config, versions, applied=now)


def _text(future: Future[str] | None) -> str:
    """ "" if it could not be read: it is not there, or not to be read yet."""
    if future is None or not future.done() or future.cancelled() or future.exception():
        return ""
    return future.result()
