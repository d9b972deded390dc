"""What the documents show is what happens: commands, outputs, files, links."""

import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastserve.cli import arguments, main
from fastserve.config import options, settings
from tests.examples import documents

DOCUMENTS = documents.documents()
# Fenced blocks without a mark: the two commands that would run this very test.
UNMARKED = {"README.md": ["$ make run\n$ make test\n"]}


@pytest.fixture
def checkout(root, tmp_path) -> Path:
    """A folder that looks like the repository to the commands, and may be written to."""
    (tmp_path / "examples").symlink_to(root / "examples")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


@pytest.fixture
def servers(checkout) -> Iterator[documents.Servers]:
    if not (checkout / ".venv/bin/fastserve").exists():
        pytest.skip("fastserve is not installed")
    servers = documents.Servers(checkout)
    yield servers
    servers.stop()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_marked_block_runs_in_order(document, checkout, servers):
    pytest.importorskip("tritonclient.http")
    documents.execute(documents.read(document), checkout, servers)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_block_is_left_unmarked(document):
    found = documents.blocks(documents.read(document))
    assert documents.read(document).count("\n```") == 2 * len(found)
    assert [block.text for block in found if not block.mark] == UNMARKED.get(document, [])
    assert all(block.argument for block in found if block.mark in ("file", "shown:"))


def steady(text: str) -> str:
    """The demo's output without what differs from run to run."""
    text = re.sub(r"\d+(\.\d+)?( ?)(ms|us|s|bytes)\b", r"N\2\3", text)
    return re.sub(r"127\.0\.0\.1:\d+", "HOST", text).strip()


def test_the_picture_is_what_the_demo_prints(run_example):
    readme = documents.blocks(documents.read("README.md"))
    (picture,) = [block.text for block in readme if block.mark == "demo"]
    printed = run_example("digits/demo.py", "--once", PYTHONUTF8="1").stdout
    assert steady(picture) == steady(printed)


def anchor(heading: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_inside_the_tree_leads_somewhere(document, root):
    for link in re.findall(r"\]\((?!https?:)([^)]*)\)", documents.read(document)):
        path, _, part = link.partition("#")
        target = (root / document).parent / path if path else root / document
        assert target.exists(), link
        if part:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert part in map(anchor, headings), link


def test_the_readme_has_links():
    assert "](" in documents.read("README.md")


# -- Commands ------------------------------------------------------------------------------------


def own_commands(text: str) -> Iterator[list[str]]:
    """The words behind each `fastserve` that is called, in blocks and within sentences."""
    called = [command for b in documents.blocks(text) for command, _ in documents.commands(b.text)]
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    called += re.findall(r"`((?:\.venv/bin/)?fastserve [^`]+)`", outside)
    for command in called:
        for words in simple_commands(command):
            while words and (words[0] == "env" or "=" in words[0]):
                words.pop(0)
            if words and words[0].rpartition("/")[2] == "fastserve":
                yield words[1:]


def simple_commands(line: str) -> Iterator[list[str]]:
    """The words of each command of a list or a pipeline, without redirections."""
    lexer = shlex.shlex(line.replace("\\\n", " "), posix=True, punctuation_chars=";|&<>")
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    for token in lexer:
        if token[0] in "<>":
            next(lexer)
        elif token[0] in ";|&":
            yield words
            words = []
        else:
            words.append(token)
    yield words


def parse(words: list[str]) -> None:
    """As the program would, short of doing it. Errors: UsageError, Error."""
    if words in (["--version"], ["--help"]):
        return
    assert words[0] in main.COMMANDS, f"fastserve has no command '{words[0]}'"
    module = importlib.import_module(f"fastserve.cli.{words[0]}")
    flags = module.all_flags() if hasattr(module, "all_flags") else module.FLAGS
    given = arguments.read(words[1:], flags)
    if words[0] == "run":
        fields = {settings.BY_KEY[key.replace("-", "_")].field: value
                  for key, value in given.values.items() if key != "config"}  # fmt: skip
        options.build(fields, {})


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_of_fastserve_can_be_parsed(document):
    for words in own_commands(documents.read(document)):
        parse(words)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_variable_of_fastserve_is_an_option(document):
    known = {f"FASTSERVE_{key.upper()}" for key in (*settings.BY_KEY, "paths", "config")}
    named = set(re.findall(r"FASTSERVE_[A-Z_]*[A-Z]", documents.read(document)))
    assert named <= known


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_target_of_make_exists(document, root):
    made = re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"(?:`|\$ )make ([a-z]+)", documents.read(document))
    assert set(named) <= set(made)


def test_every_path_that_contributors_are_told_exists(root):
    text = documents.read("CONTRIBUTING.md")
    named = re.findall(r"`((?:\w+/)+[\w./]*)`", text)
    made_up = {path for path in named if re.search(r"/(test_)?x[._]", path)}
    assert len(made_up) == 4
    assert [path for path in set(named) - made_up if not (root / path).exists()] == []


def test_commands_are_found_wherever_they_stand():
    text = (
        "say `fastserve check a b`\n```console\n$ x && env A=b .venv/bin/fastserve run \\\n  m\n```"
    )
    assert list(own_commands(text)) == [["run", "m"], ["check", "a", "b"]]


@pytest.mark.parametrize("words", [["serve", "m"], ["run", "m", "--prot", "1"], ["run", "--port"]])
def test_a_command_that_is_wrong_is_found(words):
    with pytest.raises((AssertionError, arguments.UsageError)):
        parse(words)


# -- The equipment -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a...c", "abbbc\n", True),
        ("a...c", "abbb\n", False),
        ("[7]", "7", False),
        ("one", "one\ntwo", False),
    ],
)
def test_dots_in_shown_output_stand_for_anything(shown, printed, same):
    assert documents.matches(shown, printed) is same


def test_commands_are_told_from_their_output():
    assert documents.commands("$ a b\nx\ny\n$ c\n") == [("a b", "x\ny\n"), ("c", "")]
    assert documents.commands("$ a \\\n  b\nx\n") == [("a \\\n  b", "x\n")]


def test_a_mark_may_have_an_argument():
    text = "<!-- file a/b.txt -->\n```text\nx\n```\n```json\n{}\n```\n"
    assert documents.blocks(text) == [
        documents.Block("file", "a/b.txt", "text", "x\n"),
        documents.Block("", "", "json", "{}\n"),
    ]
