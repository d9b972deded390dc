"""ShmTransport: where programs on this machine connect that speak over shared memory.

    transport = ShmTransport(options, serving_map, port, is_handed_over=False)
    transport.open()                                Errors, of an address that was asked for
    cut_off = await transport.drain_with(loops)

The core serves each of them on a thread of its own, without Python; here is when it begins and
ends, and what is said of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping

from fastserve import _core
from fastserve._core.memory import ShmListener
from fastserve.config.options import Options
from fastserve.config.settings import SHM_AUTO, SHM_OFF
from fastserve.errors import Error, from_core
from fastserve.server import logs
from fastserve.server.farewell import away
from fastserve.server.front_end import CutOff
from fastserve.server.loops.single import Loops

_DRAIN_POLL_S = 0.005
# Nothing tells when an address becomes free.
_RETRY_S = 0.2
# A file that lies there is asked less often whether somebody listens: that one hears of it.
_RETRIES_PER_PROBE = 25
_FIXES = {
    "ALREADY_EXISTS": "another program listens on it, or a file that is no socket is in the way",
    "PERMISSION_DENIED": "this user may not make a socket there",
    "NOT_FOUND": "there is no such folder",
}


def address_of(options: Options, port: int) -> tuple[str, str]:
    """Where to listen, "" for nowhere; and if that was not asked for, why. `port` is HTTP's."""
    if options.shm_socket == SHM_OFF or options.shared_memory == "off":
        return "", ""
    if options.shm_socket != SHM_AUTO:
        return options.shm_socket, ""
    if options.has_processes:
        return "", "the models are in the processes of --loops; --loop-kind thread has them here"
    return f"@fastserve-{port}", ""


class ShmTransport:
    """Threads: the loop's. `serving_map` is None where the models are in other processes;
    `is_handed_over`: an address that is in use may become free, since servers follow each other.
    """

    def __init__(
        self,
        options: Options,
        serving_map: _core.ServingMap | None,
        port: int,
        *,
        is_handed_over: bool,
    ) -> None:
        self._options = options
        self._serving_map = serving_map
        self._address, self._why_not = address_of(options, port)
        self._is_handed_over = is_handed_over
        self._listener: ShmListener | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._is_loading = True

    def open(self) -> None:
        """Serve, now or when the server before this one leaves the address; where it was not asked
        for and cannot be, the log says why. Errors: of an address that was."""
        if self._why_not:
            logs.info(f"no clients over shared memory: {self._why_not}", {"event": "no_shm"})
        if not self._address:
            return
        try:
            self._listen()
        except Error as error:
            if error.code == "ALREADY_EXISTS" and self._is_handed_over:
                logs.info(
                    f"clients over shared memory are served once {self._address} is free",
                    {"event": "waiting_shm", "address": self._address},
                )
                self._waiting = asyncio.get_running_loop().create_task(self._wait())
            elif self._options.shm_socket == SHM_AUTO:
                _say_none(error)
            else:
                raise

    def end_loading(self) -> None:
        """From now on a model that is not there is unknown: until then it may be on its way."""
        self._is_loading = False
        if self._listener is not None:
            self._listener.end_loading()

    def stats(self) -> Mapping[str, int]:
        """ShmListener.stats(); empty where nobody is served."""
        return self._listener.stats() if self._listener is not None else {}

    async def drain_with(self, loops: Loops) -> CutOff:
        """Let what is in flight finish, here and there, for the drain timeout at most; then nothing
        is served."""
        cut_off, requests = await asyncio.gather(loops.drain(), self._drain())
        return CutOff(cut_off.requests + requests, cut_off.connections)

    def _listen(self) -> None:
        """Errors: what is wrong with the address, and what to do."""
        assert self._serving_map is not None  # Else there is no address.
        try:
            self._listener = ShmListener(
                self._serving_map,
                self._address,
                clients_max=self._options.shm_clients_max,
                segment_bytes_max=self._options.shm_bytes_max,
                spin_ns=self._options.shm_spin_ns,
                is_loading=self._is_loading,
            )
        except _core.CoreError as core_error:
            error = from_core(core_error)
            reason = _FIXES.get(error.code, error.message)
            raise Error(
                error.code,
                f"--shm-socket {self._address}: {reason}; choose another address, or --shm-socket"
                " off",
            ) from None
        logs.info(
            f"listening on {self._address} for clients over shared memory",
            {"event": "listening_shm", "address": self._address},
        )

    async def _wait(self) -> None:
        """Until the address is free."""
        tries = 0
        while self._listener is None:
            await asyncio.sleep(_RETRY_S)
            tries += 1
            is_file = not self._address.startswith("@") and os.path.lexists(self._address)
            if is_file and tries % _RETRIES_PER_PROBE:
                continue
            try:
                self._listen()
            except Error as error:
                if error.code != "ALREADY_EXISTS":
                    _say_none(error)
                    return

    async def _drain(self) -> int:
        """How many requests were cut off."""
        if self._waiting is not None:
            self._waiting.cancel()
        listener = self._listener
        if listener is None:
            return 0
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._options.drain_timeout_ns / 1e9
        # While it still listens: afterwards, the next server may have put its own there.
        if not self._address.startswith("@"):
            with contextlib.suppress(OSError):
                os.unlink(self._address)
        listener.begin_drain()
        while listener.in_flight > 0 and loop.time() < deadline_s:
            await asyncio.sleep(_DRAIN_POLL_S)
        cut_off = listener.in_flight
        await away(listener.stop)
        return cut_off


def _say_none(error: Error) -> None:
    logs.warning(f"no clients over shared memory: {error.message}", {"event": "no_shm"})
