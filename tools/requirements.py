"""Print the requirements of pyproject.toml for `pip install -r`: GROUP... from its extras.

The group "build" is what building without isolation needs. It works before anything is installed.
"""

import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
BUILD_TOOLS = ["cmake>=3.25", "ninja>=1.11"]


def requirements(group: str) -> list[str]:
    """The requirements of one group."""
    settings = tomllib.loads(PYPROJECT.read_text())
    if group == "build":
        return [*settings["build-system"]["requires"], *BUILD_TOOLS]
    extras: dict[str, list[str]] = settings["project"]["optional-dependencies"]
    return extras[group]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print("\n".join(requirements(name)))
