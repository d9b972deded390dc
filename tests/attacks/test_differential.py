"""The gateway and other people's readers of HTTP/1.1 see the same requests in the same bytes.

A hidden request gets past a proxy when two programs disagree on where one ends. So whatever the
gateway accepts, h11 and llhttp must accept as well, request for request and byte for byte, but for
what ALLOWED explains. That the gateway refuses what others take is what it is for.

A failure prints its seed; FASTSERVE_SEED=<seed> pytest tests/attacks/test_differential.py runs that
one alone, FASTSERVE_SEEDS=<count> more of them.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.attacks.readers import hostile, ours
from tests.attacks.readers.reading import Reading, Request, field
from tests.attacks.readers.references import is_chunked, read_h11, read_llhttp

SEEDS = 8000
REFERENCES: dict[str, Callable[[bytes], Reading]] = {"h11": read_h11, "llhttp": read_llhttp}


def has_chunks_alone(request: Request | None) -> bool:
    names = [name for name, _ in request.fields] if request is not None else []
    framing = [name for name in names if name in (b"transfer-encoding", b"content-length")]
    return request is not None and is_chunked(request) and framing == [b"transfer-encoding"]


def has_chunks_perhaps(request: Request | None) -> bool:
    return request is None or has_chunks_alone(request)


def has_long_length(request: Request | None) -> bool:
    return request is not None and len(field(request, b"content-length")) > 20


def has_other_method(request: Request | None) -> bool:
    return request is None or request.method not in METHODS


METHODS = {b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH"}

# What a reference refuses and the gateway takes: why this is no way to hide a request.
# reference, its refusal, of which requests (None: of whose body something is missing), why
ALLOWED: list[tuple[str, str, Callable[[Request | None], bool], str]] = [
    (
        "h11",
        r"bad Content-Length|conflicting Content-Length|Only Transfer-Encoding: chunked|"
        r"multiple Transfer-Encoding",
        has_chunks_alone,
        "A trailer with the name of a framing field, of a body that has ended: h11 gives trailers "
        "the meaning of fields, the gateway drops them unread and passes none on.",
    ),
    (
        "llhttp",
        r"Content-Length can't be present with|.*Transfer-Encoding|.*Content-Length",
        has_chunks_alone,
        "The same of llhttp, which looks at the names of trailers as at those of fields.",
    ),
    (
        "h11",
        r"bad Content-Length",
        has_long_length,
        "More than 20 digits, which h11 does not read for the sake of its own time. Zeros before a "
        "number do not change it; numbers beyond 64 bits are refused here, too.",
    ),
    (
        "llhttp",
        r"Invalid method|Expected HTTP/|Expected SOURCE method|Expected space after method",
        has_other_method,
        "llhttp knows a list of methods. Any token is one (RFC 9110, 9.1), it has no part in where "
        "a request ends, and a model answers only to POST.",
    ),
    (
        "llhttp",
        r"[Ii]nvalid character in chunk extensions",
        has_chunks_perhaps,
        "The grammar of chunk extensions. Both drop them, and end them at CR LF alone, without "
        "control characters: where the line ends is not in question.",
    ),
]

UPGRADE = (
    "httptools ends a request that asks to upgrade with its head, even if it has a body (llhttp "
    "itself does so for CONNECT alone, which is refused here). To upgrade takes a 101, which is "
    "never sent, and until then a request is read as any other (RFC 9110, 7.8)."
)


def divergence(gateway: Reading, reference: Reading) -> str | None:
    """What the gateway makes of the bytes that the reference does not, in words."""
    count, other = len(gateway.requests), len(reference.requests)
    both = min(count, other)
    expected = tuple(map(comparable, reference.requests))
    if tuple(map(comparable, gateway.requests[:both])) != expected[:both]:
        return "another request"
    if count > other:
        return f"accepts a request: {reference.refusal or 'the reference saw its end elsewhere'}"
    if gateway.refusal:
        return None
    if count < other:
        return "misses a request"
    if reference.refusal and gateway.heads > count:
        return f"accepts a head: {reference.refusal}"
    if not gateway.closed and reference.closed:
        return "goes on behind a request that closes"
    return None


def comparable(request: Request) -> Request:
    """Without what is no difference: the case of a coding, an absolute target's authority."""
    fields = tuple(
        (name, value.lower() if name == b"transfer-encoding" else value)
        for name, value in request.fields
    )
    absolute = re.fullmatch(rb"https?://[^/?]+(/.*)?", request.target, re.IGNORECASE)
    target = (absolute[1] or b"/") if absolute else request.target
    return replace(request, fields=fields, target=target)


def why_allowed(name: str, gateway: Reading, reference: Reading) -> str | None:
    """The reason of ALLOWED for a request that the gateway accepts and a reference does not."""
    pairs = list(zip(gateway.requests, reference.requests, strict=False))
    for request, said in pairs:
        if comparable(request) != comparable(said):
            if name == "llhttp" and replace(said, body=request.body) == request:
                return UPGRADE if said.body == b"" and field(said, b"upgrade") else None
            return None
    other = len(reference.requests)
    closes = other > 0 and field(reference.requests[-1], b"proxy-connection") == b"close"
    if name == "llhttp" and closes and reference.closed:
        return "llhttp closes for Proxy-Connection, which no RFC knows; it passes nothing more on."
    accepted = gateway.requests[other] if other < len(gateway.requests) else None
    for of, refusal, of_these, why in ALLOWED:
        if of == name and re.match(refusal, reference.refusal) and of_these(accepted):
            return why
    return None


def compare(seeds: list[int], preset: str) -> Iterator[tuple[str, str, str | None]]:
    """Reference, divergence and why it is allowed, of each that is found; fails for the others."""
    streams = [hostile.stream(seed) for seed in seeds]
    # Pieces of a few bytes, too: what is seen must not depend on how the bytes arrive.
    pieces = [(data, seed % 5 * 7) for seed, data in zip(seeds, streams, strict=True)]
    for seed, data, gateway in zip(seeds, streams, ours.read_all(preset, pieces), strict=True):
        for name, read in REFERENCES.items():
            reference = read(data)
            found = divergence(gateway, reference)
            if found is None:
                continue
            why = why_allowed(name, gateway, reference)
            said = f"seed {seed}: {found}\n{data!r}\ngateway:\n{gateway}\n{name}:\n{reference}"
            assert why is not None, said
            yield name, found, why


def test_the_references_see_every_request_that_the_gateway_accepts(pytestconfig):
    if "FASTSERVE_SEED" in os.environ:
        seeds = [int(os.environ["FASTSERVE_SEED"])]
    else:
        seeds = list(range(int(os.environ.get("FASTSERVE_SEEDS", SEEDS))))
    used = {why for _, _, why in compare(seeds, pytestconfig.getoption("--cpp-preset"))}
    if len(seeds) >= SEEDS:
        idle = [why for *_, why in ALLOWED if why not in used]
        assert not idle, "nothing needs this any more: remove it"


# The property says nothing if all streams are refused at their first byte, or if none is wrong.
def test_the_streams_are_accepted_and_refused_in_all_their_parts(pytestconfig):
    streams = [hostile.stream(seed) for seed in range(2000)]
    readings = ours.read_all(pytestconfig.getoption("--cpp-preset"), [(s, 0) for s in streams])
    refusals = Counter(reading.refusal for reading in readings)
    assert set(refusals) >= {"", "400", "413", "417", "501", "505"}, refusals
    assert refusals[""] > 400
    assert sum(len(reading.requests) >= 2 for reading in readings) > 300
    assert sum(reading.heads > 0 and reading.refusal != "" for reading in readings) > 200
    assert sum(any(map(is_chunked, reading.requests)) for reading in readings) > 300


def request(target: bytes = b"/", body: bytes = b"") -> Request:
    return Request(b"GET", target, ((b"host", b"x"),), body)


@pytest.mark.parametrize(
    ("gateway", "reference", "found"),
    [
        (Reading((request(),)), Reading((request(), request(b"/hidden"))), "misses"),
        (Reading((request(), request(b"/hidden"))), Reading((request(),)), "accepts a request"),
        (Reading((request(body=b"a"),)), Reading((request(body=b"ab"),)), "another"),
        (Reading((request(),)), Reading((), "wrong"), "accepts a request: wrong"),
        (Reading((), heads=1), Reading((), "wrong"), "accepts a head: wrong"),
        (Reading((request(),)), Reading((request(),), closed=True), "goes on"),
        (Reading((request(),), "400"), Reading((request(), request())), None),
        (Reading((), "400"), Reading((request(),)), None),
        (Reading(()), Reading((), "wrong"), None),
    ],
)
def test_a_divergence_is_found(gateway, reference, found):
    assert (divergence(gateway, reference) or "").startswith(found or "")
    assert (divergence(gateway, reference) is None) == (found is None)
