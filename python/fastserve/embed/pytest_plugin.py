"""Fixtures for programs that test against their models: a server, closed and checked at the end.

    def test_a_seven_is_a_seven(fastserve_server):
        model = fastserve_server.load("digits.onnx")
        assert model.infer({"image": seven})["label"] == 7

pytest imports this file at every start of every project that has fastserve installed, so it imports
nothing until a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fastserve.embed.server import Server


def _serve() -> Iterator[Server]:
    from fastserve.embed.server import Server

    with Server() as server:
        yield server
        waiting = {m.name: m.stats().queue_depth for m in server.models.values()}
    left = [f"{count} for {name}" for name, count in waiting.items() if count]
    if left:
        pytest.fail(f"requests were still waiting at the end of the test: {', '.join(left)}")


@pytest.fixture
def fastserve_server() -> Iterator[Server]:
    """A fastserve.Server for one test; it fails if requests are still waiting at its end."""
    yield from _serve()


@pytest.fixture(scope="session")
def fastserve_session_server() -> Iterator[Server]:
    """A fastserve.Server for the whole run: for models that take long to load."""
    yield from _serve()
