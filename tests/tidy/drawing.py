"""The floors of floors.py as the drawings that README files show: `make draw` writes them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from tests import drawn
from tests.tidy import floors, tree


def core_rooms() -> set[str]:
    """The rooms of the core that exist, each engine for itself."""
    rooms = map(floors.cpp_room, (p for p in tree.paths() if p.suffix in tree.CPP_SUFFIXES))
    return {room for room in rooms if room}


def python_rooms() -> set[str]:
    """The rooms and lone modules of the package that exist."""
    rooms = map(floors.python_room, (p for p in tree.paths() if p.suffix in tree.PYTHON_SUFFIXES))
    return {room for room in rooms if room}


def _levels(rooms: Iterable[str], floor_of: Mapping[str, int], letter: str) -> str:
    """One line a floor, the highest first; a room that may see less says what it may."""
    by_floor: defaultdict[int, list[str]] = defaultdict(list)
    for room in sorted(rooms):
        allowed = floors.ONLY.get(room) if floor_of is floors.CPP_FLOORS else None
        only = "" if allowed is None else f" (sees only {', '.join(sorted(allowed)) or 'itself'})"
        by_floor[floor_of[room.split("/")[0]]].append(room + only)
    return "\n".join(
        f" {letter}{floor}  {'   '.join(by_floor[floor])}"
        for floor in sorted(by_floor, reverse=True)
    )


def core_drawing() -> str:
    rooms = core_rooms()
    existing = {room.split("/")[0] for room in rooms}
    reasons = [why for _, _, why in floors.OUTSIDE]
    reasons += [why for room, (_, why) in floors.UNKNOWN_TO.items() if room in existing]
    laws = "\n".join(f" - {why}" for why in dict.fromkeys(reasons))
    return f"{_levels(rooms, floors.CPP_FLOORS, 'L')}\n\n{laws}"


def python_drawing() -> str:
    return _levels(python_rooms(), floors.PYTHON_FLOORS, "P")


DRAWINGS = {
    ("csrc/README.md", "floors"): core_drawing,
    ("python/fastserve/README.md", "floors"): python_drawing,
}


def main() -> None:
    for (document, name), draw in DRAWINGS.items():
        if drawn.write(document, name, drawn.fenced(draw())):
            print(f"{document}: {name} drawn anew")


if __name__ == "__main__":
    main()
