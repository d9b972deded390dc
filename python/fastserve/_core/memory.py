"""The memory that clients share, under a name of its own: see memory.pyi."""

from fastserve._core._core import RegionRegistry as RegionRegistry
from fastserve._core._core import ShmListener as ShmListener
