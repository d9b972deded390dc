"""The floors that README files show are those of floors.py, and every room is in its map."""

import re

import pytest

from tests import drawn
from tests.tidy import drawing


@pytest.mark.parametrize(("document", "name"), drawing.DRAWINGS)
def test_a_drawing_is_current(document, name):
    current = drawn.fenced(drawing.DRAWINGS[document, name]())
    assert drawn.read(document, name) == current, f"{document} is not current: run `make draw`"


# The map's table names each room that exists, and none that does not.
@pytest.mark.parametrize(
    ("document", "rooms"),
    [
        ("csrc/README.md", {room.split("/")[0] for room in drawing.core_rooms()} - {"kernels"}),
        ("python/fastserve/README.md", drawing.python_rooms()),
    ],
)
def test_every_room_is_in_the_map(document, rooms):
    text = (drawn.ROOT / document).read_text()
    cells = re.findall(r"^\| (`.*?`) \|", text[text.index("| room |") :], re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r"`(\w+)(?:/|\.py)`", cell)}
    assert named == rooms


def test_what_a_room_may_see_is_drawn():
    assert "protocol (sees only base, tensor)" in drawing.core_drawing()
    assert drawing.core_drawing().splitlines()[0] == " L6  bind"


def test_a_table_survives_a_bar_in_a_cell():
    assert drawn.table(("a",), [("x|y",)]) == "| a |\n| --- |\n| x\\|y |\n"
