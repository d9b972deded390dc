"""The nearest valid name to a wrong one: every "unknown ..." message ends with a guess."""

from __future__ import annotations

from collections.abc import Iterable

# Comparing takes the product of the lengths; nobody mistypes a longer name.
NAME_CHARACTERS_MAX = 100


def did_you_mean(wrong: str, valid: Iterable[str]) -> str:
    """The tail of a message: "; did you mean 'max_batch_size'?", or nothing if none is near."""
    import difflib  # Only on the failing path: a start-up that succeeds never pays for it.

    if len(wrong) > NAME_CHARACTERS_MAX:
        return ""
    by_folded = {name.lower().replace("-", "_"): name for name in valid}
    folded = wrong.lower().replace("-", "_")
    near = difflib.get_close_matches(folded, by_folded, n=1, cutoff=0.6)
    return f"; did you mean '{by_folded[near[0]]}'?" if near else ""


def shorten(text: str) -> str:
    """A wrong word as a message shows it: enough to find it again."""
    return text if len(text) <= NAME_CHARACTERS_MAX else text[:NAME_CHARACTERS_MAX] + "…"
