"""A notebook: an event loop runs in the main thread all the time, and cells may await."""

import pytest

from tests.python.embed.conftest import DIGITS, LIMIT_S

nbclient = pytest.importorskip("nbclient", reason="the extra `examples` is not installed")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

CELLS = (
    f"""
import urllib.request
import numpy as np
import fastserve
image = np.zeros((1, 8, 8), np.float32)
server = fastserve.Server()
model = server.load({str(DIGITS)!r})
""",
    "model",
    "print(model.infer(image)['label'].shape)",
    "print((await model.ainfer(image))['label'].shape, (await model.submit(image))['label'].shape)",
    """
import asyncio
listener = server.listen(port=0)
own = await server.alisten(port=0)
ask = lambda url: urllib.request.urlopen(url + "/v2/health/ready").status
print(ask(listener.url), await asyncio.to_thread(ask, own.url))
""",
    "await server.aclose()\nprint(server)",
)


# ipykernel and its client warn about each other's age; that is not what is tested here.
@pytest.mark.filterwarnings("ignore")
def test_every_kind_of_call_works_in_a_cell(monkeypatch, tmp_path):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    nbclient.NotebookClient(notebook, timeout=LIMIT_S, kernel_name="python3").execute()
    outputs = [cell["outputs"] for cell in notebook["cells"]]
    assert "<td>image</td>" in outputs[1][0]["data"]["text/html"]
    printed = ["".join(o.get("text", "") for o in cell) for cell in outputs]
    assert printed[2:] == [
        "(1,)\n",
        "(1,) (1,)\n",
        "200 200\n",
        "<fastserve.Server closed>\n",
    ]
