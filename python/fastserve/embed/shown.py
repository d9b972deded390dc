"""How models and servers look at a prompt and in a notebook.

Names come out of model files: everything is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from fastserve.config.model_config import Tensor
from fastserve.errors import one_line

if TYPE_CHECKING:
    from fastserve.embed.model import Model


def tensors(of: Iterable[Tensor]) -> str:
    """`image FP32[-1, 8, 8], mask BOOL[-1]`"""
    return ", ".join(f"{one_line(t.name)} {t.datatype}{list(t.shape)}" for t in of) or "nothing"


def model_html(model: Model) -> str:
    """A table of what goes in and comes out."""
    state = "" if model.is_loaded else ", <i>not loaded any more</i>"
    rows = [
        *((("input", t)) for t in model.inputs),
        *((("output", t)) for t in model.outputs),
    ]
    return (
        f"<p><b>{escape(one_line(model.name))}</b>, version {model.version},"
        f" {escape(model.platform)}; batches: {escape(model.batching)}{state}</p>"
        + _table(
            ("", "name", "datatype", "shape"),
            ([kind, one_line(t.name), t.datatype, str(list(t.shape))] for kind, t in rows),
        )
    )


def server_html(state: str, models: Iterable[Model]) -> str:
    """A table of the models."""
    return f"<p><b>fastserve.Server</b>, {escape(state)}</p>" + _table(
        ("model", "version", "inputs", "outputs"),
        ([one_line(m.name), str(m.version), tensors(m.inputs), tensors(m.outputs)] for m in models),
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def row(tag: str, cells: Sequence[str]) -> str:
        inside = "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)
        return f"<tr>{inside}</tr>"

    body = "".join(row("td", cells) for cells in rows)
    return f"<table><thead>{row('th', head)}</thead><tbody>{body}</tbody></table>"
