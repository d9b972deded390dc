"""Named synchronisation: every acquire says which release it pairs with, and the reverse."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from tests.tidy.tree import Source, Violation, line_of

LABEL = re.compile(r"//.*?\bSYNC\(([\w-]+)\)")
ORDER = re.compile(r"\bmemory_order(?:_|::)(?:acquire|release|acq_rel|seq_cst|consume)\b")
COMMENT_LINES_ABOVE = 4
# An operation of std::atomic; our own classes name theirs in another case.
OPERATION = re.compile(
    r"(?:\.|->)(load|store|exchange|fetch_\w+|compare_exchange_\w+|test_and_set)\s*\("
)


def check_orders(source: Source) -> Iterator[Violation]:
    """Orders without a label near them, and operations that leave the order to the default."""
    lines, code = source.lines, source.code
    for number, line in enumerate(code.splitlines(), 1):
        near = lines[max(0, number - 1 - COMMENT_LINES_ABOVE) : number]
        if ORDER.search(line) and not any(LABEL.search(text) for text in near):
            message = "say what this order pairs with: // SYNC(label): ... in the lines above"
            yield Violation(source.path, number, message)
    for match in OPERATION.finditer(code):
        if "memory_order" not in arguments(code, match.end()):
            message = f"{match.group(1)} without a memory order means seq_cst: name the order"
            yield Violation(source.path, line_of(code, match.start()), message)


def arguments(code: str, start: int) -> str:
    """What stands between the parenthesis that ends at `start` and the one that closes it."""
    depth, end = 1, start
    while depth and end < len(code):
        depth += {"(": 1, ")": -1}.get(code[end], 0)
        end += 1
    return code[start:end]


def check_pairs(sources: Iterable[Source]) -> Iterator[Violation]:
    """Labels that occur once: half of a pair is missing, or one of them is misspelt."""
    seen: Counter[str] = Counter()
    first: dict[str, Violation] = {}
    for source in sources:
        for match in LABEL.finditer(source.text):
            label = match.group(1)
            seen[label] += 1
            line = line_of(source.text, match.start())
            first.setdefault(label, Violation(source.path, line, f"SYNC({label}) has no partner"))
    yield from (first[label] for label, times in sorted(seen.items()) if times < 2)
