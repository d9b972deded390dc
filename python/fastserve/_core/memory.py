"""The heap, and the memory that clients share, under a name of their own: see memory.pyi."""

from fastserve._core._core import RegionRegistry as RegionRegistry
from fastserve._core._core import ShmListener as ShmListener
from fastserve._core._core import limit_heaps as limit_heaps
from fastserve._core._core import trim_heap as trim_heap
