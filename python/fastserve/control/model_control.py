"""ModelControl: changes which models are served while the server runs, because somebody asks.

What is asked about one model is done in order, one after the other. Loads run on a few threads and
queue for them; an unload waits for no other model's load. A hundred loads of one model at once are
two: the one that runs, and one for all who asked meanwhile, which finds nothing changed.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from fastserve.config.spelling import did_you_mean
from fastserve.control.manager import LOADER_THREADS, Manager, OnWarning
from fastserve.control.repository.inline import Inline
from fastserve.control.repository.model_repository import (
    Listing,
    ModelRepository,
    ModelSource,
)
from fastserve.control.state_file import StateFile
from fastserve.errors import Error, not_found

# What may wait to be done, in all; more is refused.
JOBS_MAX = 1000


@dataclass
class _Job:
    work: Callable[[], Any]
    loads: bool
    future: Future[Any] = field(default_factory=Future)
    is_shared: bool = False  # Who asks for the same before it begins gets the same answer.


class ModelControl:
    """Threads: any. A Future ends on a thread of its own; its exception is an Error if it can be
    told to whoever asked. All raise RESOURCE_EXHAUSTED when too much waits."""

    def __init__(
        self,
        manager: Manager,
        repository: ModelRepository,
        on_warning: OnWarning,
        state_file: StateFile | None = None,
        *,
        is_polled: bool = False,
    ) -> None:
        """`is_polled`: somebody else looks at the repository, and says with apply() and remove()
        what is complete there."""
        self._manager = manager
        self._repository = repository
        self._on_warning = on_warning
        self._state_file = state_file
        self._is_polled = is_polled
        self._saved = manager.decisions() if state_file is not None else {}
        self._loads = ThreadPoolExecutor(LOADER_THREADS, thread_name_prefix="load")
        self._unloads = ThreadPoolExecutor(1, thread_name_prefix="unload")
        self._lock = threading.Lock()
        # By name: what is being done, and then what waits for it.
        self._lanes: dict[str, deque[_Job]] = {}
        self._listing: Listing | None = None
        self._inline: dict[str, tuple[Inline, ModelSource]] = {}

    # -- What can be asked -------------------------------------------------------------------

    def load(self, name: str, given: Inline | None = None) -> Future[Any]:
        """Serve the model as it lies on disk by the time that this load begins, or as it is given.

        Ends with an Error, and what was served before goes on, if it cannot be.
        """
        if given is not None:
            return self._enqueue(name, _Job(lambda: self._load_inline(name, given), loads=True))
        job = _Job(lambda: self._load(self._repository.find(name)), loads=True, is_shared=True)
        return self._enqueue(name, job)

    def apply(self, source: ModelSource) -> Future[Any]:
        """Serve a model as `source` has it."""
        return self._enqueue(source.name, _Job(lambda: self._load(source), loads=True))

    def unload(self, name: str) -> Future[Any]:
        """Stop serving the model; what is in flight is answered."""
        return self._enqueue(name, _Job(lambda: self._unload(name), loads=False))

    def remove(self, name: str) -> Future[Any]:
        """As unload(), for one that is not in the repository any more: it is forgotten."""

        def work() -> None:
            self._unload(name)
            self._manager.forget(name)

        return self._enqueue(name, _Job(work, loads=False))

    def label(self, name: str, changes: Mapping[str, int | None]) -> Future[Any]:
        """Manager.label(). The result are all labels of the model."""
        return self._decide(
            name, lambda source: self._manager.label(source, changes, self._on_warning)
        )

    def roll_back(self, name: str, version: int | None) -> Future[Any]:
        """Manager.roll_back(). The result is the model."""
        return self._decide(
            name, lambda source: self._manager.roll_back(source, version, self._on_warning)
        )

    def refresh(self) -> None:
        """Know what was put into the repository, and forget what was taken out and never served."""
        if self._is_polled:
            return
        found = self._repository.look_for_names(self._listing)
        if found is self._listing:
            return
        self._listing = found
        sources = {source.name: source for root in found.roots for source in root.sources}
        for source in sources.values():
            self._manager.know(source)
        if any(root.problem for root in found.roots):
            return
        for model in list(self._manager.models.values()):
            if model.name not in sources and not model.states and not model.is_wanted:
                self._manager.forget(model.name)

    def is_busy(self) -> bool:
        """Whether a model is loading, or waits for that."""
        return bool(self._lanes)

    def close(self) -> None:
        """What waits is cancelled; what runs is left to its thread."""
        with self._lock:
            for lane in self._lanes.values():
                for job in list(lane)[1:]:
                    job.future.cancel()
        self._loads.shutdown(wait=False, cancel_futures=True)
        self._unloads.shutdown(wait=False, cancel_futures=True)
        for name in list(self._inline):
            self._drop_inline(name)

    # -- Order -------------------------------------------------------------------------------

    def _enqueue(self, name: str, job: _Job) -> Future[Any]:
        with self._lock:
            lane = self._lanes.get(name)
            if lane is not None and len(lane) > 1 and job.is_shared and lane[-1].is_shared:
                return lane[-1].future
            if sum(map(len, self._lanes.values())) >= JOBS_MAX:
                raise Error("RESOURCE_EXHAUSTED", f"{JOBS_MAX} changes of models wait already")
            if lane is not None:
                lane.append(job)
                return job.future
            self._lanes[name] = deque([job])
            self._start(name, job)
        return job.future

    def _start(self, name: str, job: _Job) -> None:
        pool = self._loads if job.loads else self._unloads
        pool.submit(self._run, name, job)

    def _run(self, name: str, job: _Job) -> None:
        result, failure = None, None
        if job.future.set_running_or_notify_cancel():
            try:
                result = job.work()
            except BaseException as error:  # noqa: BLE001 It is told to whoever asked.
                failure = error
            self._save()
        # Before it is told: who hears of it may ask for more, and finds this one done.
        self._go_on(name)
        if failure is not None:
            job.future.set_exception(failure)
        elif not job.future.cancelled():
            job.future.set_result(result)

    def _go_on(self, name: str) -> None:
        with self._lock:
            lane = self._lanes[name]
            lane.popleft()
            if not lane:
                del self._lanes[name]
                return
            with contextlib.suppress(RuntimeError):  # The end has begun: it was cancelled.
                self._start(name, lane[0])

    # -- On a thread -------------------------------------------------------------------------

    def _load(self, source: ModelSource) -> None:
        """From the repository: what came with a request before is no more."""
        self._manager.apply(source, self._on_warning)
        self._drop_inline(source.name)

    def _load_inline(self, name: str, given: Inline) -> None:
        source = given.put(self._repository, name)
        try:
            self._manager.apply(source, self._on_warning)
        except BaseException:
            given.take_away(source)
            raise
        self._drop_inline(name)
        self._inline[name] = (given, source)

    def _unload(self, name: str) -> None:
        self._manager.release(name)
        self._drop_inline(name)

    def _drop_inline(self, name: str) -> None:
        given, source = self._inline.pop(name, (None, None))
        if given is not None and source is not None:
            given.take_away(source)

    def _decide(self, name: str, work: Callable[[ModelSource], Any]) -> Future[Any]:
        if name not in self._manager.models:
            raise not_found(f"there is no model '{name}'{did_you_mean(name, self._manager.models)}")
        return self._enqueue(name, _Job(lambda: work(self._source_of(name)), loads=True))

    def _source_of(self, name: str) -> ModelSource:
        """What a decision is about. Polled: what was applied last, since more may be half there."""
        if self._is_polled and (model := self._manager.models.get(name)):
            return model.source
        given, source = self._inline.get(name, (None, None))
        if given is None or source is None:
            return self._repository.find(name)
        return source if given.files else given.put(self._repository, name)

    def _save(self) -> None:
        if self._state_file is None:
            return
        decisions = self._manager.decisions()
        if decisions == self._saved:
            return
        try:
            self._state_file.write(decisions)
            self._saved = decisions
        except Error as error:
            self._on_warning(f"what was decided would not survive a restart: {error.message}")
