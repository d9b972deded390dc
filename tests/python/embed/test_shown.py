"""What a prompt and a notebook show; names come out of files, and must not become markup."""

from fastserve.config.model_config import Tensor
from fastserve.embed import shown


class Named:
    """What model_html looks at."""

    name = "<script>alert(1)</script>"
    version = 3
    platform = "onnxruntime_onnx"
    batching = "off: <b>"
    is_loaded = False
    inputs = (Tensor('"><img src=x>', "FP32", (-1, 2)),)
    outputs = (Tensor("y\n", "INT64", ()),)


def test_tensors_are_one_line():
    assert shown.tensors(Named.inputs + Named.outputs) == (
        '"><img src=x> FP32[-1, 2], y\\n INT64[]'
    )
    assert shown.tensors(()) == "nothing"


def test_a_model_s_table_is_escaped():
    html = shown.model_html(Named())  # type: ignore[arg-type]
    assert "<script>" not in html
    assert "<img" not in html
    assert "off: &lt;b&gt;" in html
    assert "not loaded any more" in html
    assert html.count("<tr>") == 3


def test_a_server_s_table_is_escaped():
    html = shown.server_html("<i>", [Named()])  # type: ignore[list-item]
    assert "<script>" not in html
    assert "<b>fastserve.Server</b>, &lt;i&gt;" in html
