"""Server: owns the event loop, the sockets, the signals and the end.

Order at start: the port is bound, the loop runs and answers health, then the models load on a
thread. Order at the end: stop accepting, let what is in flight finish, retire, go.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fastserve import _core
from fastserve.config.options import Options
from fastserve.config.units import format_duration_ns
from fastserve.control.loader import Loader
from fastserve.control.manager import Manager, Model
from fastserve.control.repository import ModelSource
from fastserve.errors import Error
from fastserve.server import banner, logs
from fastserve.server.acceptor import Acceptor, connections_that_fit
from fastserve.server.housekeeping import Housekeeper
from fastserve.server.listen import url_of
from fastserve.server.routes import INTERNAL, Response, Router, error_response
from fastserve.server.transport import connection_factory

if TYPE_CHECKING:
    from fastserve.server.metrics import Snapshot

_DRAIN_POLL_S = 0.02
# How long another Python thread (a loader, a scrape) may keep the loop from the GIL; 5 ms is
# Python's default, and many times what a small request takes.
_SWITCH_INTERVAL_S = 0.001


def run(options: Options, sources: Sequence[ModelSource], sockets: Sequence[socket.socket]) -> int:
    """Serve until a signal; the process's exit status."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        server = Server(options, sources, sockets, runner.get_loop())
        status = runner.run(server.serve())
        if server.is_busy:
            # An engine cannot be interrupted while it opens a model or runs one; waiting would
            # break the promise of --drain-timeout, and static destructors would run under its feet.
            sys.stderr.flush()
            os._exit(status)
    return status


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


class Server:
    """Threads: the loop's, but for _load()."""

    def __init__(
        self,
        options: Options,
        sources: Sequence[ModelSource],
        sockets: Sequence[socket.socket],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._options = options
        self._sockets = sockets
        self._loop = loop
        serving_map = _core.ServingMap()
        self._manager = Manager(sources, serving_map, Loader(options.model_defaults))
        self._router = Router(
            self._manager, self._render_metrics, strict_readiness=options.strict_readiness
        )
        self._gateway = _core.Gateway(
            serving_map,
            loop,
            self._router.on_control,
            body_bytes_max=options.body_bytes_max,
            in_flight_bytes_max=options.in_flight_bytes_max,
            connections_max=connections_that_fit(options.connections_max),
            head_timeout_ns=options.head_timeout_ns,
            body_timeout_ns=options.body_timeout_ns,
            idle_timeout_ns=options.idle_timeout_ns,
            access_log=options.access_log,
        )
        self._housekeeper = Housekeeper(
            self._gateway, loop, logs_access=options.access_log, look_after=self._check_acceptors
        )
        self._acceptors: list[Acceptor] = []
        self._stop: asyncio.Future[int] = loop.create_future()
        self._loaded = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._url = url_of(sockets[0])
        self._cut_off = 0

    @property
    def is_busy(self) -> bool:
        """Whether a thread of the core is still at work: loading, or on a request cut off."""
        return not self._loaded.is_set() or self._cut_off > 0

    async def serve(self) -> int:
        """Until a signal, or until it is clear that there is nothing to serve; the exit status."""
        self._handle_signals()
        self._loop.add_reader(self._gateway.fd, self._gateway.drain)
        make = connection_factory(self._gateway, self._housekeeper.on_connection)
        self._acceptors = [Acceptor(self._loop, make, sock) for sock in self._sockets]
        for acceptor in self._acceptors:
            await acceptor.start()
        logs.info(f"listening on {self._url}", {"event": "listening", "url": self._url})
        # A daemon: a signal must be able to end the process while an engine reads a large file.
        threading.Thread(target=self._load, name="loader", daemon=True).start()
        try:
            status = await self._stop
        finally:
            # While it still listens: afterwards, the next server may have put its own there.
            if self._options.unix_socket:
                Path(self._options.unix_socket).unlink(missing_ok=True)
            for acceptor in self._acceptors:
                acceptor.close()
        await self._drain()
        return status

    def _check_acceptors(self) -> None:
        for acceptor in self._acceptors:
            acceptor.check()

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
        for model in models:
            for number, state in sorted(model.states.items()):
                if state.reason:
                    logs.error(f"{model.name} version {number} is not served: {state.reason}")
            if model.problem:
                logs.error(f"{model.name} is not served: {model.problem}")
        if not self._manager.any_ready() and any(m.source.is_file for m in models):
            # Somebody named this file and nothing else would be served. A repository is different:
            # it is a place where models live, and its server tells each one's reason.
            logs.error("no model could be loaded")
            self._finish(1)
            return
        self._router.is_starting = False
        # What was imported and loaded stays for ever: collections need not walk it any more.
        gc.freeze()
        self._say_what_is_served(models)

    def _say_what_is_served(self, models: Sequence[Model]) -> None:
        if self._options.log_format == "json":
            logs.info(f"serving at {self._url}", banner.fields(self._url, models))
        elif logs.shows_info():
            shown = banner.text(
                self._url,
                self._options.host,
                models,
                unix_socket=self._options.unix_socket,
                colours=logs.has_colours(sys.stderr),
            )
            print(f"\n{shown}", file=sys.stderr, flush=True)  # noqa: T201 It is the banner.

    # -- Metrics -----------------------------------------------------------------------------

    def _render_metrics(self, respond: Callable[[Response], None]) -> None:
        task = self._loop.create_task(self._respond_metrics(respond))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _respond_metrics(self, respond: Callable[[Response], None]) -> None:
        try:
            # In a thread, so that neither the first scrape, which imports, nor one of many models
            # stops the requests.
            await asyncio.to_thread(importlib.import_module, "fastserve.server.metrics")
            from fastserve.server import metrics

            body = await asyncio.to_thread(metrics.render, self._snapshot())
            respond(Response(200, body, (("Content-Type", metrics.CONTENT_TYPE),)))
        except ImportError:
            respond(
                error_response(
                    501, "metrics need prometheus-client; install it: pip install prometheus-client"
                )
            )
        except Exception:  # noqa: BLE001 It is answered and logged; no scrape may end the task.
            logs.LOGGER.exception("rendering the metrics failed")
            respond(error_response(500, INTERNAL))

    def _snapshot(self) -> Snapshot:
        from fastserve.server import metrics

        models = list(self._manager.models.values())
        return metrics.Snapshot(
            versions=tuple(
                metrics.VersionStats(model.name, number, loaded.load_ns, loaded.servable.stats())
                for model in models
                for number, loaded in sorted(model.loaded.items())
            ),
            gateway=self._gateway.stats(),
            connections=self._gateway.connections,
            in_flight=self._gateway.in_flight,
            states={
                key: state
                for model in models
                for key, state in (
                    [((model.name, str(n)), s.state.value) for n, s in sorted(model.states.items())]
                    or [((model.name, ""), "FAILED" if model.problem else "WAITING")]
                )
            },
        )

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
            self._router.is_draining = True
            self._stop.set_result(status)

    async def _drain(self) -> None:
        began_s = self._loop.time()
        deadline_s = began_s + self._options.drain_timeout_ns / 1e9
        self._gateway.begin_drain()
        # Connections too: an answer is out of our hands only when its connection is closed.
        while self._gateway.in_flight > 0 or self._gateway.connections > 0:
            if self._loop.time() >= deadline_s:
                break
            await asyncio.sleep(_DRAIN_POLL_S)
        self._cut_off, left_open = self._gateway.in_flight, self._gateway.connections
        self._housekeeper.stop()
        self._loop.remove_reader(self._gateway.fd)
        if not self.is_busy:
            with contextlib.suppress(Error, _core.CoreError):
                self._manager.retire_all()
        took = format_duration_ns(round((self._loop.time() - began_s) * 1e9))
        if self._cut_off or left_open:
            logs.warning(
                f"drained for {took}, until the time was up; cut off:"
                f" {_count(self._cut_off, 'request')}, {_count(left_open, 'connection')}"
            )
        else:
            logs.info(f"drained in {took}; nothing was cut off")
