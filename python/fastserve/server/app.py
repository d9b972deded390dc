"""Server: owns the control plane, the signals and the end; its loops serve.

Order at start: the port is bound, the loops run and answer health, then the models load on a
thread. Order at the end: stop accepting, let what is in flight finish, retire, go. A server that
takes over from another accepts nobody before its models are there.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastserve import _core
from fastserve.config.options import Options
from fastserve.config.units import format_duration_ns
from fastserve.control.loading.loader import Loader
from fastserve.control.manager import Manager
from fastserve.control.model_control import ModelControl
from fastserve.control.policy import TRANSITION_POLICIES
from fastserve.control.repository.model_repository import ModelRepository, ModelSource
from fastserve.control.state_file import StateFile
from fastserve.control.transition import Published, VersionLoader
from fastserve.errors import Error
from fastserve.server import banner, logs
from fastserve.server.debug import DebugEndpoint
from fastserve.server.farewell import away, say_drained
from fastserve.server.front_end import CutOff, FrontEnd
from fastserve.server.live.live_settings import LiveSettings
from fastserve.server.live.shared_regions import SharedRegions
from fastserve.server.loops.event_loop import loop_factory, tune_process
from fastserve.server.loops.single import Loops, SingleLoop
from fastserve.server.routes.responses import ControlRequest
from fastserve.server.routes.router import Router
from fastserve.server.scrape import Scraper
from fastserve.server.sockets.acceptor import with_connections_that_fit
from fastserve.server.sockets.listen import of_loop, url_of, urls_of
from fastserve.server.sockets.shm_transport import ShmTransport
from fastserve.server.tracing.tracer import Tracer

if TYPE_CHECKING:
    from fastserve.control.source import PollingSource
    from fastserve.server.loops.hand_over import HandOver


# For engines to end that run nothing any more.
_REAP_TIMEOUT_S = 5.0
# For the last traces to be written.
_TRACES_TIMEOUT_S = 1.0


def run(
    options: Options,
    sources: Sequence[ModelSource],
    sockets: Sequence[socket.socket],
    hand_over: HandOver | None = None,
) -> int:
    """Serve until a signal; the process's exit status."""
    tune_process(1 if options.has_processes else options.loops)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        status, is_busy = runner.run(_serve(options, sources, sockets, hand_over))
        if is_busy:
            # An engine cannot be interrupted while it opens a model or runs one; waiting would
            # break the promise of --drain-timeout, and static destructors would run under its feet.
            sys.stderr.flush()
            os._exit(status)
    return status


async def _serve(
    options: Options,
    sources: Sequence[ModelSource],
    sockets: Sequence[socket.socket],
    hand_over: HandOver | None,
) -> tuple[int, bool]:
    server = Server(options, sources, sockets, hand_over)
    status = await server.serve()
    return status, server.is_busy


class Server:
    """Threads: the loop's, but for _load()."""

    def __init__(
        self,
        options: Options,
        sources: Sequence[ModelSource],
        sockets: Sequence[socket.socket],
        hand_over: HandOver | None = None,
    ) -> None:
        if not options.has_processes:
            options = with_connections_that_fit(options)  # Each child process sees to its own.
        self._options = options
        self._sockets = sockets
        self._hand_over = hand_over
        self._loop = asyncio.get_running_loop()
        self._state_file = StateFile(options.state_file) if options.state_file else None
        self._remembered = self._state_file.read() if self._state_file else {}
        regions = SharedRegions.of(options)
        self._live = LiveSettings(Tracer(options), regions, lambda to: self._loops.configure(to))
        self._serving_map: _core.ServingMap | None = None
        self._manager, self._loops = self._compose(sources)
        port = sockets[0].getsockname()[1]
        self._shm = ShmTransport(
            options, self._serving_map, port, is_handed_over=hand_over is not None
        )
        self._live.tell()
        self._control, self._source = self._compose_control()
        self._scraper = Scraper(self._manager, self._loops, self._loop, self._live, self._shm.stats)
        self._router = Router(
            self._manager,
            self._scraper.render,
            strict_readiness=options.strict_readiness,
            render_debug=DebugEndpoint(options, self._manager, self._loops).render,
            is_served=lambda: self._loops.is_serving(),
            control=self._control,
            mode=options.model_control,
            count=self._scraper.count,
            live=self._live,
            cors_origins=options.cors_origins,
        )
        self._stop: asyncio.Future[int] = self._loop.create_future()
        self._loaded = asyncio.Event()
        self._url = url_of(sockets[0])
        self._cut_off = CutOff()
        self._tasks: list[asyncio.Task[None]] = []

    def _compose(self, sources: Sequence[ModelSource]) -> tuple[Manager, Loops]:
        """What the models are loaded into, and what serves them."""
        options, live, loader = self._options, self._live, Loader(self._options.model_defaults)
        if options.has_processes:
            return self._compose_processes(sources, loader)
        self._serving_map = serving_map = _core.ServingMap()
        manager = self._new_manager(sources, serving_map, loader)
        if options.loops > 1:
            return manager, self._compose_threads(serving_map)
        front_end = FrontEnd(
            options, serving_map, self._on_control, self._loop, live.on_traces, live.registry
        )
        return manager, SingleLoop(front_end, self._sockets)

    def _new_manager(
        self, sources: Sequence[ModelSource], serving_map: Published, loader: VersionLoader
    ) -> Manager:
        policy = TRANSITION_POLICIES[self._options.transition]
        return Manager(sources, serving_map, loader, self._wants, policy, self._remembered)

    def _wants(self, name: str) -> bool:
        """Whether a model is loaded at the start: as it was before, else as the options say."""
        decided = self._remembered.get(name)
        if decided is not None and self._options.model_control == "explicit":
            return decided.is_loaded
        return self._options.wants_at_start(name)

    def _compose_control(self) -> tuple[ModelControl | None, PollingSource | None]:
        """What changes the models while the server runs."""
        options, manager = self._options, self._manager
        if options.model_control == "none":
            return None, None
        repository = ModelRepository(options.paths, options.name)
        is_polled = options.model_control == "poll"
        control = ModelControl(
            manager, repository, logs.warning, self._state_file, is_polled=is_polled
        )
        if not is_polled:
            return control, None
        from fastserve.control.source import PollingSource

        interval_s = options.poll_interval_ns / 1e9
        return control, PollingSource(repository, manager, control, interval_s, logs.warning)

    # What several loops need is imported by who has several: one starts without it.

    def _compose_processes(
        self, sources: Sequence[ModelSource], loader: Loader
    ) -> tuple[Manager, Loops]:
        from fastserve.server.loops.fleet import Fleet
        from fastserve.server.loops.process_loop import ProcessLoop
        from fastserve.server.loops.remote_models import RemoteModels

        share = self._options.of_one_loop()
        fleet = Fleet(
            self._options,
            lambda number: ProcessLoop(
                number, share, self._sockets_of(number), self._on_control, self._live.on_traces
            ),
            lambda member: remote.prepare(member),
        )
        remote = RemoteModels(fleet, loader, self._loop)
        return self._new_manager(sources, remote, remote), fleet

    def _compose_threads(self, serving_map: _core.ServingMap) -> Loops:
        from fastserve.server.loops.fleet import Fleet
        from fastserve.server.loops.thread_loop import ThreadLoop

        share = self._options.of_one_loop()
        return Fleet(
            self._options,
            lambda number: ThreadLoop(
                number,
                share,
                serving_map,
                self._sockets_of(number),
                self._on_control,
                self._live.on_traces,
                self._live.registry,
            ),
        )

    def _sockets_of(self, number: int) -> list[socket.socket]:
        return of_loop(self._sockets, number, self._options.loops)

    def _on_control(self, request: ControlRequest) -> None:
        self._router.on_control(request)

    @property
    def is_busy(self) -> bool:
        """Whether a thread of the core is still at work: loading, or on a request cut off."""
        is_loading = self._control is not None and self._control.is_busy()
        return not self._loaded.is_set() or is_loading or self._cut_off.requests > 0

    async def serve(self) -> int:
        """Until a signal, or until it is clear that there is nothing to serve; the exit status."""
        self._handle_signals()
        if not await self._start_loops():
            await self._loops.drain()
            return self._stop.result()
        if self._hand_over is not None:
            self._hand_over.begin()
        if self._hand_over is None or not self._hand_over.waits_until_ready:
            await self._accept()
        if self._stop.done():
            self._loaded.set()  # Nothing was, and nothing will.
        else:
            # A daemon: a signal must be able to end the process while an engine reads a large file.
            threading.Thread(target=self._load, name="loader", daemon=True).start()
        try:
            status = await self._stop
            await self._see_successor()
        finally:
            # While it still listens: afterwards, the next server may have put its own there.
            if self._options.unix_socket:
                Path(self._options.unix_socket).unlink(missing_ok=True)
        await self._drain()
        return status

    async def _start_loops(self) -> bool:
        """Whether they run; a signal ends the wait for one that hangs."""
        starting = self._loop.create_task(self._loops.start())
        awaited: list[asyncio.Future[Any]] = [starting, self._stop]
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
        elif (error := starting.exception()) is None:
            return True
        else:
            logs.error(f"the server cannot start: {error}")
            self._finish(1)
        self._loaded.set()  # Nothing was, and nothing will.
        return False

    async def _accept(self) -> None:
        try:
            self._shm.open()
        except Error as error:
            logs.error(f"the server cannot start: {error}")
            self._finish(2)  # It was not tried, as with a taken port.
            return
        await self._loops.accept()
        for url in urls_of(self._sockets):
            logs.info(f"listening on {url}", {"event": "listening", "url": url})
        if self._hand_over is not None:
            self._hand_over.say_ready()

    async def _see_successor(self) -> None:
        """The address stays ready if another server serves it; it may still be loading."""
        if self._hand_over is not None:
            timeout_s = self._options.drain_timeout_ns / 1e9
            if await self._hand_over.find_successor(timeout_s):
                logs.info("another server takes over", {"event": "taken_over"})
                self._hand_over.end()
                return
            self._hand_over.end()
        self._router.drain()

    # -- Loading -----------------------------------------------------------------------------

    def _load(self) -> None:
        """On the loader thread."""
        failure: BaseException | None = None
        try:
            self._manager.load_all(logs.warning)
        except BaseException as error:  # noqa: BLE001 The loop decides what becomes of it.
            failure = error
        # The loop is closed already when a signal came first.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._on_loaded, failure)

    def _on_loaded(self, failure: BaseException | None) -> None:
        self._loaded.set()
        if failure is not None:
            logs.LOGGER.error("loading failed", exc_info=failure)
            self._finish(1)
            return
        if self._stop.done():
            return  # A signal was faster: there is nothing to announce any more.
        models = list(self._manager.models.values())
        banner.say_not_served(models)
        if (
            self._source is None
            and not self._manager.any_ready()
            and any(m.source.is_file and m.is_wanted for m in models)
        ):
            # Somebody named this file and nothing else would be served. A repository is different:
            # it is a place where models live, and its server tells each one's reason.
            logs.error("no model could be loaded")
            self._finish(1)
            return
        self._router.is_starting = False
        self._shm.end_loading()
        if self._source is not None:
            self._source.start()
        # What was imported and loaded stays for ever: collections need not walk it any more.
        gc.freeze()
        if self._hand_over is not None and self._hand_over.waits_until_ready:
            strict = self._options.strict_readiness
            is_ready = self._manager.all_ready() if strict else self._manager.any_ready()
            if not is_ready and any(model.is_wanted for model in models):
                logs.error("nothing to serve: the server before this one goes on")
                self._finish(1)
                return
            self._tasks.append(self._loop.create_task(self._accept()))
        banner.show(self._options, self._url, models)

    # -- The end -----------------------------------------------------------------------------

    def _handle_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._on_signal, number)
        # Under nohup it is ignored already, and stays so.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            has_terminal = sys.stdin is not None and sys.stdin.isatty()
            self._loop.add_signal_handler(signal.SIGHUP, self._on_hang_up, has_terminal)

    def _on_signal(self, number: int) -> None:
        if self._stop.done():
            sys.stderr.flush()
            os._exit(128 + number)
        limit = format_duration_ns(self._options.drain_timeout_ns)
        logs.info(
            f"{signal.Signals(number).name}: draining, {limit} at most; a second signal exits at"
            " once"
        )
        self._finish(0)

    def _on_hang_up(self, has_terminal: bool) -> None:
        """A closed terminal ends its server. Elsewhere SIGHUP means "reload", and must not kill."""
        if has_terminal:
            self._on_signal(signal.SIGHUP)
        else:
            logs.warning("SIGHUP: there is nothing to reload yet; SIGTERM ends the server")

    def _finish(self, status: int) -> None:
        if not self._stop.done():
            if self._hand_over is None:
                self._router.drain()
            self._stop.set_result(status)

    def _retire_all(self) -> None:
        """On a thread, until no engine is left that would be in the way of the process's end."""
        self._manager.retire_all()
        _core.reap(_REAP_TIMEOUT_S)

    async def _drain(self) -> None:
        began_s = self._loop.time()
        if self._source is not None:
            self._source.close()
        # The loops close theirs; what is in the backlog is lost, unless another server has it too.
        for sock in self._sockets:
            sock.close()
        self._cut_off = await self._shm.drain_with(self._loops)
        await away(self._live.close, _TRACES_TIMEOUT_S)
        if self._control is not None:
            self._control.close()
        if not self.is_busy:
            with contextlib.suppress(Error, _core.CoreError):
                await away(self._retire_all)
        say_drained(self._cut_off, self._loop.time() - began_s)
