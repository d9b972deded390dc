"""Puts another build of the extension module under the fastserve that a test starts.

On PYTHONPATH the interpreter imports this before anything else. An installed package, an editable
one, too, finds its own module: only what is asked before all other finders can replace it.
"""

import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec

MODULE = "fastserve._core._core"


class CoreFinder:
    """Finds one module, at the path that CORE_UNDER_TEST names."""

    @staticmethod
    def find_spec(name: str, *_: object) -> ModuleSpec | None:
        if name != MODULE:
            return None
        return importlib.util.spec_from_file_location(name, os.environ["CORE_UNDER_TEST"])


if "CORE_UNDER_TEST" in os.environ:
    sys.meta_path.insert(0, CoreFinder)
