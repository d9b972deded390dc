"""Server: models inside the program that uses them, and over HTTP if it wants."""

from __future__ import annotations

import asyncio
import os
import weakref
from typing import NoReturn, Unpack

from fastserve.config.spelling import did_you_mean
from fastserve.embed import at_exit, shown
from fastserve.embed.entry import Entry
from fastserve.embed.listener import Closes, Listener
from fastserve.embed.model import Model
from fastserve.embed.settings import (
    ModelSettings,
    ServerSettings,
    listen_options,
    model_defaults,
    server_options,
)
from fastserve.embed.shared import Shared
from fastserve.embed.sources import all_sources, loader, one_source
from fastserve.errors import not_found


class Server(Closes):
    """Loads models, runs them for Python callers, and serves the same models over HTTP.

        with fastserve.Server() as server:
            model = server.load("digits.onnx")
            model.infer({"image": x})["probabilities"]
            server.listen(port=8000)

    Options have the names of `fastserve run`'s: those of models (max_batch, instances...) are
    defaults for load(), host, port and unix_socket for listen(). Durations are seconds or text with
    a unit ("5ms"), sizes are bytes or text ("64MiB"). Environment and files are not looked at.

    Errors:  Error everywhere, with `code`, `message` and `http_status`; FAILED_PRECONDITION after
             close() and in the child of a fork. TypeError for an option that does not exist.
    Threads: any, also at once.
    """

    def __init__(self, **options: Unpack[ServerSettings]) -> None:
        self._shared = Shared(server_options(options))
        self._finalizer = weakref.finalize(self, at_exit.abandon, self._shared)
        self._finalizer.atexit = False  # at_exit sees to it, and waits a moment.
        at_exit.watch(self._shared)

    # -- Models ------------------------------------------------------------------------------

    def load(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        version: int | None = None,
        **settings: Unpack[ModelSettings],
    ) -> Model:
        """Load one model and return when it has run once.

        `path` is an .onnx file, which `name` and `version` (1) may call something else, or a
        model's directory, laid out as for Triton, of which `version` chooses one version.
        `settings` hold where its config.pbtxt says nothing.

        Errors: NOT_FOUND, INVALID_ARGUMENT and others with the reason why it cannot be served;
                ALREADY_EXISTS: a model of that name is loaded.
        """
        self._shared.check_usable()
        defaults = model_defaults(self._shared.options, settings)
        source = one_source(path, name, version)
        return Model(self, self._shared.load(source, loader(defaults, version)))

    async def aload(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        version: int | None = None,
        **settings: Unpack[ModelSettings],
    ) -> Model:
        """As load(), in a thread. A load that is cancelled goes on, and ends up in `models`."""
        return await asyncio.to_thread(self.load, path, name=name, version=version, **settings)

    def load_all(
        self, path: str | os.PathLike[str], **settings: Unpack[ModelSettings]
    ) -> dict[str, Model]:
        """Load every model of a repository, by name; all of them, or none and an error.

        Errors: as load().
        """
        self._shared.check_usable()
        defaults = model_defaults(self._shared.options, settings)
        loaded: dict[str, Model] = {}
        try:
            for source in all_sources(path):
                entry = self._shared.load(source, loader(defaults, None))
                loaded[source.name] = Model(self, entry)
        except BaseException:
            for model in loaded.values():
                model.unload()
            raise
        return loaded

    @property
    def models(self) -> dict[str, Model]:
        """What is loaded now, by name."""
        return {entry.name: Model(self, entry) for entry in self._shared.entries()}

    def unload(self, name: str) -> None:
        """Stop serving a model; what is in flight is still answered. Errors: NOT_FOUND."""
        self._shared.check_usable()
        entries = {entry.name: entry for entry in self._shared.entries()}
        if name not in entries:
            raise not_found(f"there is no model '{name}'{did_you_mean(name, entries)}")
        self._unload(entries[name])

    def _unload(self, entry: Entry) -> None:
        self._shared.check_usable()
        self._shared.unload(entry)

    # -- HTTP --------------------------------------------------------------------------------

    def listen(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        unix_socket: str | os.PathLike[str] | None = None,
    ) -> Listener:
        """Serve the models over HTTP, on a thread of its own; returns when clients may connect.

        What is not said is what Server() was told: 127.0.0.1, port 8000. Port 0 takes any free one.
        Several listeners may be open; closing the server drains them.

        Errors: ALREADY_EXISTS: the address is in use; INVALID_ARGUMENT, PERMISSION_DENIED.
        """
        listener = self._new_listener(host, port, unix_socket)
        listener.start_thread()
        self._admit(listener)
        return listener

    async def alisten(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        unix_socket: str | os.PathLike[str] | None = None,
    ) -> Listener:
        """As listen(), on the running event loop, asyncio's own or uvloop.

        Close it there: `async with`, or aclose() of the listener or of the server.
        """
        listener = self._new_listener(host, port, unix_socket)
        await listener.start_here()
        self._admit(listener)
        return listener

    def _new_listener(
        self, host: str | None, port: int | None, unix_socket: str | os.PathLike[str] | None
    ) -> Listener:
        self._shared.check_usable()
        said = {"host": host, "port": port, "unix_socket": unix_socket}
        return Listener(self._shared, listen_options(self._shared.options, said))

    def _admit(self, listener: Listener) -> None:
        try:
            self._shared.add_listener(listener)
        except BaseException:
            listener.close(drain=False)
            raise

    # -- The end -----------------------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        return self._shared.is_closed

    def close(self) -> None:
        """Refuse new calls, drain the listeners, unload the models.

        In-process calls that have not begun to run by then end with UNAVAILABLE; what runs is still
        answered, and not waited for. A listener on the event loop that runs in this thread goes on
        draining after the return: there, await aclose(). The first call closes; others return at
        once, as does one in the child of a fork.
        """
        if not self._shared.begin_close():
            return
        self._finalizer.detach()
        listeners = self._shared.listeners()
        for listener in listeners:
            listener.request_stop(drain=True)  # All at once: their drains overlap.
        for listener in listeners:
            listener.close()
        self._shared.retire()

    async def aclose(self) -> None:
        """As close(), without holding up the running event loop."""
        if not self._shared.begin_close():
            return
        self._finalizer.detach()
        await asyncio.gather(*(listener.aclose() for listener in self._shared.listeners()))
        await asyncio.to_thread(self._shared.retire)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a fastserve.Server cannot be pickled or copied: it owns threads; make one in each"
            " process"
        )

    def __repr__(self) -> str:
        return f"<fastserve.Server {self._state()}>"

    def _repr_html_(self) -> str:
        return shown.server_html(self._state(), self.models.values())

    def _state(self) -> str:
        if self._shared.is_closed:
            return "closed"
        names = ", ".join(self.models) or "no models"
        urls = ", ".join(listener.url for listener in self._shared.listeners())
        return f"{names}{f' at {urls}' if urls else ''}"
