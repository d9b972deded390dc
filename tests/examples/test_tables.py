"""The tables of the documents are those of the program."""

import importlib
import json
import re
import shutil

import numpy as np
import pytest

from fastserve.cli import main
from fastserve.errors import HTTP_STATUS
from fastserve.server import access_log
from tests import drawn
from tests.examples import documents, tables
from tests.served import EXECUTABLE, Server

DOCS = [document for document in documents.documents() if document.startswith("docs/")]
# Of gRPC's codes that no part of fastserve uses yet, and of a request whose client has left.
NEVER_SENT = {401, 403, 409, 499}


@pytest.fixture(scope="module", autouse=True)
def installed():
    if not EXECUTABLE.exists():
        pytest.skip("fastserve is not installed")


def cells(document: str) -> list[list[str]]:
    """Each row of each table."""
    lines = [line for line in documents.read(document).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@pytest.mark.parametrize(("document", "name"), tables.TABLES)
def test_a_drawn_table_is_current(document, name):
    current = tables.TABLES[document, name]()
    assert drawn.read(document, name) == current, f"{document} is not current: run `make draw`"


# A query of a metric that is not there is empty, and an alert on it never fires.
@pytest.mark.parametrize("document", ["docs/operate.md", "docs/migrate.md"])
def test_every_metric_that_is_named_exists(document):
    families = tables.scraped()
    there = {family.name for family in families}
    there |= {sample.name for family in families for sample in family.samples}
    named = set(re.findall(r"\b(?:fastserve|process)_[a-z_]+\b", documents.read(document)))
    assert {name for name in named if not name.endswith("_")} <= there


def known_flags() -> set[str]:
    flags = []
    for command in main.COMMANDS:
        module = importlib.import_module(f"fastserve.cli.{command}")
        flags += module.all_flags() if hasattr(module, "all_flags") else module.FLAGS
    return {f"--{flag.name}" for flag in flags}


# In migrate.md the first column holds the flags of others.
@pytest.mark.parametrize("document", DOCS)
def test_every_option_that_is_named_exists(document):
    if document == "docs/migrate.md":
        text = " ".join(cell for row in cells(document) for cell in row[1:])
    else:
        text = re.sub(r"^```.*?^```$", "", documents.read(document), flags=re.MULTILINE | re.DOTALL)
    named = {name for code in re.findall(r"`([^`]+)`", text) for name in FLAG.findall(code)}
    assert named <= known_flags()


FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


def test_every_status_that_can_be_sent_is_explained(root):
    sources = [root / "csrc/gateway/http", root / "csrc/protocol", root / "python/fastserve/server"]
    files = [file for folder in sources for file in sorted(folder.rglob("*"))]
    # http1_response.cc knows the phrase of every status there is.
    files = [f for f in files if f.suffix in (".cc", ".py") and f.stem != "http1_response"]
    code = " ".join(file.read_text() for file in files)
    sent = {int(number) for number in re.findall(r"\b(?:4[0-4]\d|50[0-5])\b", code)}
    sent |= set(HTTP_STATUS.values()) - NEVER_SENT
    rows = [row[0] for row in cells("docs/operate.md")]
    explained = {int(n) for row in rows for n in re.findall(r"^\d{3}|(?<=, )\d{3}", row)}
    assert explained == sent | {200}


# What migrate.md says of a path is asked of a server.
def test_every_path_is_answered_as_the_tables_say(root, tmp_path):
    asked = [
        (match[1], match[2], int(row[-1][:3]))
        for row in cells("docs/migrate.md")
        if (match := re.fullmatch(r"`(GET|POST) (/\S+)`", row[0]))
    ]
    assert len(asked) > 20
    version = tmp_path / "models" / "digits" / "1"
    version.mkdir(parents=True)
    shutil.copyfile(root / "examples/digits/digits.onnx", version / "model.onnx")
    body = (root / "examples/digits/request.json").read_bytes()
    image = np.array(json.loads(body)["inputs"][0]["data"]).ravel().tolist()
    flat = json.dumps({"image": image}).encode()
    with Server(tmp_path / "models") as server:
        for method, path, status in asked:
            sent = flat if path.endswith("/generate") else body
            answer = server.request(method, path, sent if method == "POST" else None)
            assert (method, path, answer.status) == (method, path, status)


def test_the_line_of_the_access_log_has_its_phases_and_no_others():
    line, *_ = [
        block.text for block in documents.blocks(documents.read("docs/operate.md"))
        if block.mark == "shown:"
    ]  # fmt: skip
    shown = re.findall(r"(\w+) [\d.]+ [mun]?s", line[line.index("(") : line.index(")")])
    assert set(shown) <= set(access_log.PHASES)
    record = {
        "peer": "127.0.0.1:33724", "method": "POST", "path": "/v2/models/digits/infer",
        "status": 200, "grpc_status": "", "total_ns": 20_300_000, "model": "digits", "version": 1,
        "batch_rows": 2, "bytes_in": 490, "bytes_out": 425, "id": "a7",
        **{f"{phase}_ns": 0 for phase in access_log.PHASES},
    }  # fmt: skip
    bare = re.sub(r" \([^)]*\)", "", line).split("info    ")[1].strip()
    assert access_log.text(record) == bare
