"""Bodies of control requests: a JSON object, or nothing."""

from __future__ import annotations

import json
from typing import Any

from fastserve.errors import invalid


def json_object(text: bytes) -> dict[str, Any]:
    """What the body says; of none it is {}. Errors: INVALID_ARGUMENT."""
    if not text:
        return {}
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise invalid(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise invalid("the body: expected a JSON object")
    return body
