"""A client's part of the core over shared memory, under a name of its own: see shm.pyi."""

from fastserve._core._core import ShmCall as ShmCall
from fastserve._core._core import ShmConnection as ShmConnection
from fastserve._core._core import ShmSignature as ShmSignature
