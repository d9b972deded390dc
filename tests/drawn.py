"""Parts of documents that are made from tables of the tree, so that no prose repeats a table.

    <!-- drawn: floors -->
    ...
    <!-- end -->

What stands between the marks is written by `make draw`; a test of each part fails when it is not
what would be written now.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- drawn: {name} -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def read(document: str, name: str) -> str:
    """The part of that name as the document has it now; it must be there once."""
    found = _pattern(name).findall((ROOT / document).read_text(encoding="utf-8"))
    assert len(found) == 1, f"{document}: expected one part 'drawn: {name}', found {len(found)}"
    return str(found[0][1])


def write(document: str, name: str, text: str) -> bool:
    """Put the text there; whether anything changed."""
    if read(document, name) == text:
        return False
    path = ROOT / document
    whole = path.read_text(encoding="utf-8")
    path.write_text(_pattern(name).sub(lambda m: m[1] + text + m[3], whole), encoding="utf-8")
    return True


def fenced(text: str) -> str:
    return f"```text\n{text}\n```\n"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table; a bar inside a cell would end it."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines
    )
