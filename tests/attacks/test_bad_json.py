"""Bodies that are no JSON, or JSON that says something else than a request: 400, and go on."""

import json

import pytest

from tests.attacks.conftest import ECHO_BODY
from tests.attacks.raw_http import Wire, post

INPUT = '{"name":"x","shape":[1,1],"datatype":"INT32","data":[1]}'
GOOD = f'{{"inputs":[{INPUT}]}}'
NESTED_MAX = 100  # The request's own braces count.


def with_field(value: str) -> bytes:
    """A good request with a field that nobody needs."""
    return f'{{"x":{value},"inputs":[{INPUT}]}}'.encode()


def with_input(**changes: str) -> bytes:
    """The good request with fields of its input as other text; "" leaves a field out."""
    fields = {"name": '"x"', "shape": "[1,1]", "datatype": '"INT32"', "data": "[1]"} | changes
    text = ",".join(f'"{key}":{value}' for key, value in fields.items() if value)
    return f'{{"inputs":[{{{text}}}]}}'.encode()


def check(server, body, model="identity_int32", *words):
    """400 with words in its reason; the connection and the server go on."""
    with Wire(server.port) as wire:
        wire.send(post(model, body))
        answer = wire.read()
        assert answer.status == 400, answer
        for word in words:
            assert word in answer.error, answer
        wire.expect_alive()


NOT_JSON = {
    "empty": b"",
    "blank": b" \n",
    "text": b"hello",
    "byte-order-mark": b"\xef\xbb\xbf" + GOOD.encode(),
    "utf-16": GOOD.encode("utf-16"),
    "utf-16-without-mark": GOOD.encode("utf-16-le"),
    "nul": b"\0",
    "nul-behind": GOOD.encode() + b"\0",
    "trailing-brace": GOOD.encode() + b"}",
    "trailing-document": GOOD.encode() * 2,
    "trailing-word": GOOD.encode() + b" x",
    "trailing-comma": GOOD.encode()[:-1] + b",}",
    "leading-comma": b"{," + GOOD.encode()[1:],
    "comma-in-array": with_input(data="[1,]"),
    "no-comma": with_input(data="[1 2]"),
    "no-colon": b'{"inputs"[]}',
    "no-quotes": b"{inputs:[]}",
    "single-quotes": GOOD.replace('"', "'").encode(),
    "comment": b"/* */" + GOOD.encode(),
    "wrong-bracket": GOOD.encode()[:-1] + b"]",
    "nan": with_field("NaN"),
    "infinity": with_field("Infinity"),
    "minus-infinity": with_field("-Infinity"),
    "tru": with_field("tru"),
    "truex": with_field("truex"),
    "nul-word": with_field("nul"),
    "True": with_field("True"),
    "01": with_field("01"),
    "plus-1": with_field("+1"),
    "1-dot": with_field("1."),
    "dot-1": with_field(".1"),
    "1e": with_field("1e"),
    "hexadecimal": with_field("0x1"),
    "minus": with_field("-"),
    "huge-number": with_field("1e400"),
    "lone-high-surrogate": with_field(r'"\ud800"'),
    "lone-low-surrogate": with_field(r'"\udc00"'),
    "surrogate-pair-broken": with_field(r'"\ud800\u0041"'),
    "bad-escape": with_field(r'"\x41"'),
    "short-escape": with_field(r'"\u12"'),
    "line-feed-in-string": with_field('"a\nb"'),
    "nul-in-string": with_field('"a\0b"'),
    "not-utf-8": with_field('"?"').replace(b"?", b"\xff"),
    "overlong-utf-8": with_field('"?"').replace(b"?", b"\xc0\x80"),
    "surrogate-in-utf-8": with_field('"?"').replace(b"?", b"\xed\xa0\x80"),
    "cut-utf-8": with_field('"?"').replace(b"?", b"\xe2\x82"),
    "unclosed-string": with_field('"'),
    "surrogate-in-key": with_field(r'1,"\ud800":1'),
    "surrogate-in-name": with_input(name=r'"\ud800"'),
    "surrogate-in-id": f'{{"id":"\\ud800","inputs":[{INPUT}]}}'.encode(),
}


@pytest.mark.parametrize("name", NOT_JSON)
def test_what_is_not_json_is_refused(server, name):
    check(server, NOT_JSON[name])


@pytest.mark.parametrize(
    ("depth", "status"), [(NESTED_MAX, 200), (NESTED_MAX + 1, 400), (100_000, 400)]
)
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_nesting_is_bounded(server, depth, status, opening):
    closing = {"[": "]", '{"a":': "}"}[opening]
    inside = depth - 2  # The request and the innermost value are two levels themselves.
    value = opening * inside + "[]" + closing * inside
    with Wire(server.port) as wire:
        wire.send(post("identity_int32", with_field(value)))
        answer = wire.read()
        assert answer.status == status, answer.body[:300]
        wire.expect_alive()


@pytest.mark.parametrize("place", ["data", "shape", "outputs", "parameters", "inputs"])
def test_nesting_is_bounded_where_it_is_read(server, place):
    deep = "[" * 100_000 + "]" * 100_000
    bodies = {
        "data": with_input(data=deep),
        "shape": with_input(shape=deep),
        "outputs": f'{{"inputs":[{INPUT}],"outputs":{deep}}}'.encode(),
        "parameters": f'{{"inputs":[{INPUT}],"parameters":{{"a":{deep}}}}}'.encode(),
        "inputs": f'{{"inputs":{deep}}}'.encode(),
    }
    check(server, bodies[place])


@pytest.mark.parametrize("opening", [b"[", b"{", b'{"inputs":[' * 50_000, b'[{"a":'])
def test_what_only_opens_is_refused(server, opening):
    check(server, b'{"x":' + opening * max(1, 100_000 // len(opening)))


def test_a_request_that_ends_anywhere_is_refused(server):
    body = ECHO_BODY
    with Wire(server.port) as wire:
        for end in range(len(body)):
            wire.send(post("identity_int32", body[:end]))
            answer = wire.read()
            assert answer.status == 400, (body[:end], answer)
            assert answer.error
        wire.expect_alive()


TWICE = {
    "inputs": f'{{"inputs":[{INPUT}],"inputs":[{INPUT}]}}'.encode(),
    "id": f'{{"id":"a","id":"a","inputs":[{INPUT}]}}'.encode(),
    "outputs": f'{{"inputs":[{INPUT}],"outputs":[],"outputs":[]}}'.encode(),
    "parameters": f'{{"parameters":{{}},"inputs":[{INPUT}],"parameters":{{}}}}'.encode(),
    "name": with_input(shape='[1,1],"name":"x"'),
    "shape": with_input(datatype='"INT32","shape":[1,1]'),
    "datatype": with_input(data='[1],"datatype":"INT32"'),
    "data": with_input(data='[1],"data":[2]'),
    "timeout": f'{{"parameters":{{"timeout":1,"timeout":1}},"inputs":[{INPUT}]}}'.encode(),
    "custom": f'{{"parameters":{{"custom":1,"custom":1}},"inputs":[{INPUT}]}}'.encode(),
}


@pytest.mark.parametrize("key", TWICE)
def test_a_key_that_appears_twice_is_refused(server, key):
    check(server, TWICE[key], "identity_int32", key)


def test_a_key_that_is_escaped_is_the_same_key(server):
    check(server, with_input(data=r'[1],"n\u0061me":"x"'), "identity_int32", "name")


WRONG_TYPES = {
    "root": [b"[]", b"1", b'"x"', b"null", b"true"],
    "id": [f'{{"id":{v},"inputs":[{INPUT}]}}'.encode() for v in ("1", "null", "[]", "{}", "true")],
    "inputs": [f'{{"inputs":{value}}}'.encode() for value in ("{}", "1", "null", '"x"', "[1]")],
    "outputs": [
        f'{{"inputs":[{INPUT}],"outputs":{value}}}'.encode()
        for value in ("{}", "1", "null", '"y"', '["y"]', "[{}]", '[{"name":1}]')
    ],
    "parameters": [
        f'{{"inputs":[{INPUT}],"parameters":{value}}}'.encode() for value in ("[]", "1", '"x"')
    ],
    "timeout": [
        f'{{"inputs":[{INPUT}],"parameters":{{"timeout":{value}}}}}'.encode()
        for value in ("-1", "1.5", '"1"', "true", "18446744073709551616", "null")
    ],
    "binary_data_output": [
        f'{{"inputs":[{INPUT}],"parameters":{{"binary_data_output":{value}}}}}'.encode()
        for value in ("1", '"true"', "null")
    ],
    "binary_data": [
        f'{{"inputs":[{INPUT}],"outputs":[{{"name":"y","parameters":{{"binary_data":{v}}}}}]}}'
        .encode() for v in ("1", '"true"', "null")
    ],
    "name": [with_input(name=value) for value in ("1", "null", "[]", "{}", "true")],
    "shape": [
        with_input(shape=value)
        for value in ("1", "null", '"[1,1]"', "{}", "[1.0,1]", '["1",1]', "[-1,1]", "[[1],1]",
                      "[1e0,1]", "[true,1]", "[18446744073709551617,1]", "[null]")
    ],
    "datatype": [with_input(datatype=value) for value in ("1", "null", '"int32"', '"FLOAT"', '""')],
    "data": [
        with_input(data=value)
        for value in ("null", "{}", '"1"', "true", "[null]", '["1"]', "[true]", "[1.0]", "[1e0]",
                      "[2147483648]", "[{}]", "[[[1]]]", "1")
    ],
}  # fmt: skip


@pytest.mark.parametrize("field", WRONG_TYPES)
def test_a_field_of_the_wrong_type_is_refused(server, field):
    with Wire(server.port) as wire:
        for body in WRONG_TYPES[field]:
            wire.send(post("identity_int32", body))
            answer = wire.read()
            assert answer.status == 400, (body, answer)
            assert answer.error
        wire.expect_alive()


@pytest.mark.parametrize("field", ["name", "shape", "datatype", "data"])
def test_a_missing_field_is_named(server, field):
    check(server, with_input(**{field: ""}), "identity_int32", f"'{field}'")


def test_missing_inputs_are_named(server):
    check(server, b"{}", "identity_int32", "'inputs'")
    check(server, b'{"inputs":[]}', "identity_int32", "'x'")


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("bool", ["0", "1", '"true"', "null"]),
        ("bytes", ["1", "true", "null", "[]", r'"\ud800"']),
        ("uint8", ["256", "-1", "1.5", "true", '"1"']),
        ("uint64", ["18446744073709551616", "-1", "1e3"]),
        ("int64", ["9223372036854775808", "-9223372036854775809"]),
        ("fp32", ["1e39", "-1e39", '"1"', "true", "null", "NaN"]),
    ],
)
def test_elements_of_another_type_are_refused_and_shown(server, datatype, values):
    with Wire(server.port) as wire:
        for value in values:
            body = with_input(datatype=f'"{datatype.upper()}"', data=f"[{value}]")
            wire.send(post(f"identity_{datatype}", body))
            answer = wire.read()
            assert answer.status == 400, (body, answer)
            assert "'x'" in answer.error, (body, answer)
        wire.expect_alive()


def test_many_tensors_and_parameters_are_refused(server):
    many = {"inputs": [json.loads(INPUT)] * 2000}
    check(server, json.dumps(many).encode())
    outputs = {"inputs": [json.loads(INPUT)], "outputs": [{"name": "y"}] * 2000}
    check(server, json.dumps(outputs).encode())
    parameters = {"inputs": [json.loads(INPUT)], "parameters": {str(i): 1 for i in range(2000)}}
    check(server, json.dumps(parameters).encode())
