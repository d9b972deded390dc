"""No reader of bytes is forgotten: each is fed in three ways, and each has a fuzz target.

Everything in csrc/protocol whose name says that it reads must stand in one of the tables below:
with the test that feeds it by FeedThreeWays and the target that fuzzes it, or with the reason why
it needs none of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.tidy import tree

ROOM = "csrc/protocol/"
TESTS = tree.ROOT / "tests" / "csrc" / "protocol"
FUZZERS = tree.ROOT / "tests" / "fuzz"

# Reader: the test that feeds it three ways, and its fuzz target.
READERS = {
    "Http1HeadReader": ("http1_head_test.cc", "http1_fuzz.cc"),
    "ChunkedReader": ("http1_chunked_test.cc", "http1_fuzz.cc"),
    "KserveRestDecoder": ("kserve_rest_pieces_test.cc", "kserve_rest_fuzz.cc"),
    "DecodeRawBinary": ("kserve_rest_pieces_test.cc", "kserve_rest_fuzz.cc"),
    "GenerateDecoder": ("generate/generate_request_test.cc", "kserve_rest_fuzz.cc"),
    "Http1ResponseReader": ("client/http1_response_reader_test.cc", "client_http_fuzz.cc"),
    "Http2Session": ("http2/http2_session_test.cc", "http2_fuzz.cc"),
    "KserveGrpcDecoder": ("grpc/kserve_grpc_pieces_test.cc", "kserve_grpc_fuzz.cc"),
}

# What is reached through a reader alone, or has no pieces.
INNER = {
    "JsonParser": "KserveRestDecoder owns it and gives it whole texts",
    "ReadJsonDocument": "the outer half of KserveRestDecoder and GenerateDecoder",
    "RequestReader": "the inner half of KserveRestDecoder",
    "ReadJsonBool": "reads a value of JsonParser's document",
    "ReadJsonUint64": "reads a value of JsonParser's document",
    "ReadJsonString": "reads a value of JsonParser's document",
    "ReadJsonTensor": "reads a value of JsonParser's document",
    "ReadDecimalFloat": "reads a number of JsonParser's document; decimal_float_test.cc, and FP32 "
    "data in kserve_rest_fuzz.cc",
    "ParseGrpcPrefix": "takes five bytes; grpc_framing_test.cc and kserve_grpc_fuzz.cc",
    "ParseGrpcCode": "takes a whole field; grpc_framing_test.cc and client_grpc_fuzz.cc",
    "ParseGrpcStreamResponse": "takes a whole message; kserve_grpc_request_test.cc and "
    "kserve_grpc_fuzz.cc",
    "ParseGrpcTimeout": "takes a whole field; grpc_framing_test.cc and kserve_grpc_fuzz.cc",
    "ReadGrpcParameter": "reads what KserveGrpcDecoder found",
    "ReadTypedContents": "reads what KserveGrpcDecoder found",
    "ParseCoding": "takes a whole field; content_coding_test.cc and compression_fuzz.cc",
    "Inflater": "takes a whole body; inflater_test.cc and compression_fuzz.cc",
    "PercentDecode": "takes a whole target; http1_characters_test.cc and http1_fuzz.cc",
}

# Units that read nothing.
WRITERS = {
    "byte_writer",
    "deflater",
    "http1_request",
    "http1_response",
    "http2_output",
    "http2_session_state",
    "http2_stream_state",
    "infer_body",
    "json_writer",
    "kserve_grpc_request",
    "kserve_rest_request",
    "output_part",
    "proto_writer",
    "shared_memory_fields",
    "tensor_allocator",
}

NAME = re.compile(
    r"^(?:class|struct)\s+(\w*(?:Reader|Decoder|Parser|Scanner|Session|Tokenizer|Inflater)\w*)\s*(?:final\s*)?(?::(?!:)|\{)"
    r"|^(?:inline\s+|\[\[\w+(?:::\w+)?\]\]\s+)*[\w:<>,]+[\s&*]+"
    r"((?:\w*Decode|Read|Parse|Scan|Unescape)\w*)\(",
    re.MULTILINE,
)


def readers_in(text: str) -> Iterator[str]:
    """The names of classes and free functions that read, in a header."""
    for match in NAME.finditer(text):
        yield match[1] or match[2]


def readers_of_the_room() -> dict[str, str]:
    return {
        name: source.path.stem
        for source in tree.sources({".h"}, "csrc")
        if str(source.path).startswith(ROOM)
        for name in readers_in(source.text)
    }


def test_every_reader_is_in_a_table():
    assert readers_of_the_room().keys() == READERS.keys() | INNER.keys()
    assert not READERS.keys() & INNER.keys()


def test_every_unit_has_a_reader_or_is_a_writer():
    room = (path for path in tree.paths() if str(path).startswith(ROOM) and path.suffix == ".h")
    assert {path.stem for path in room} == set(readers_of_the_room().values()) | WRITERS


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_is_fed_three_ways_and_fuzzed(reader):
    test, target = READERS[reader]
    text = (TESTS / test).read_text()
    assert "FeedThreeWays(" in text, f"{test} does not feed in three ways"
    # A fixture may hold the reader.
    fixtures = re.findall(r'#include "(protocol/[\w/]+_fixture\.h)"', text)
    text += "".join((TESTS.parent / fixture).read_text() for fixture in fixtures)
    assert reader in text, f"{test} does not use {reader}"
    fuzzed = (FUZZERS / target).read_text()
    assert reader in fuzzed, f"{target} does not use {reader}"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("class Http2FrameReader {", ["Http2FrameReader"]),
        ("class PbDecoder final : public X {\n", ["PbDecoder"]),
        ("struct Scanner {", ["Scanner"]),
        ("class Http3Session {", ["Http3Session"]),
        ("class Http3Session::State {", []),
        ("Status DecodeInfer(std::span<const std::byte> body);", ["DecodeInfer"]),
        ("std::optional<uint64_t> ReadVarint(std::string_view* text);", ["ReadVarint"]),
        ("inline bool ParseSettings(std::string_view text) {", ["ParseSettings"]),
        ("[[nodiscard]] bool HpackDecode(std::string_view text);", ["HpackDecode"]),
        ("class Forward;\n  Step Read(std::string_view received);\n", []),
        ("// ReadMe(this)\nvoid Append(int x);", []),
    ],
)
def test_a_new_reader_is_found(text, names):
    assert list(readers_in(text)) == names
