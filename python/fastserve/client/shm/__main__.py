"""Where the client over shared memory for C and C++ is:

cc client.c $(python -m fastserve.client.shm --cflags --libs)
"""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
from pathlib import Path


def installed() -> Path:
    """The folder of the package in which the built parts are: an editable install has its Python
    elsewhere."""
    core = importlib.import_module("fastserve._core._core")
    return Path(str(core.__file__)).resolve().parents[1]


def told(package: Path, wanted: list[str]) -> list[str]:
    """What to print for each option. Errors: FileNotFoundError."""
    include, lib = package / "include", package / "lib"
    for needed in (include / "fastserve" / "shm_client.h", lib / "libfastserve_shm.so"):
        if not needed.exists():
            raise FileNotFoundError(needed)
    quoted = shlex.quote(str(lib))
    values = {
        "cflags": f"-I{shlex.quote(str(include))}",
        "libs": f"-L{quoted} -Wl,-rpath,{quoted} -lfastserve_shm",
        "include-dir": str(include),
        "lib-dir": str(lib),
    }
    return [values[one] for one in wanted]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m fastserve.client.shm",
        description="Where the client over shared memory for C and C++ is.",
    )
    for option, meaning in (
        ("cflags", "what a compiler needs"),
        ("libs", "what a linker needs; programs find the library where it is now"),
        ("include-dir", "the folder to include <fastserve/shm_client.h> from"),
        ("lib-dir", "the folder of libfastserve_shm.so"),
    ):
        parser.add_argument(
            f"--{option}", dest="wanted", action="append_const", const=option, help=meaning
        )
    wanted = parser.parse_args(arguments).wanted
    if not wanted:
        parser.error("expected --cflags, --libs, --include-dir or --lib-dir")
    try:
        lines = told(installed(), wanted)
    except FileNotFoundError as error:
        sys.stderr.write(f"error: {error} is not there: install fastserve again\n")
        return 1
    sys.stdout.write(" ".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
