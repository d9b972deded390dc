"""The one door to the C++ core: what the extension module defines, under a shorter name.

The types are in __init__.pyi. The module is not this package itself because an editable install
keeps the two in different folders.
"""

from fastserve._core._core import *  # noqa: F403
from fastserve._core._core import __version__ as __version__
