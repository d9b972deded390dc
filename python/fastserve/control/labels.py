"""Labels: names that people give to versions, so that clients need not know numbers."""

from __future__ import annotations

import re

from fastserve.errors import invalid

LABELS_MAX = 100  # Of one model.
LABEL_CHARACTERS_MAX = 64
_LABEL = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]+", re.ASCII)


def is_label(text: str) -> bool:
    """Whether it may be one; a number is a version already."""
    return bool(_LABEL.fullmatch(text)) and not _NUMBER.fullmatch(text)


def check_label(text: str) -> None:
    """Errors: INVALID_ARGUMENT."""
    if not is_label(text):
        raise invalid(
            f"expected as label 1 to {LABEL_CHARACTERS_MAX} letters, digits, '.', '_' and '-', and"
            f" no number, found '{text[:LABEL_CHARACTERS_MAX]}'"
        )
