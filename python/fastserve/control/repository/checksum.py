"""A checksum of a version's files, read so that others hardly notice it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

# Read and hashed without the GIL; between two chunks others have it.
_CHUNK_BYTES = 1 << 20


def checksum(files: Iterable[Path]) -> str:
    """Of names and contents, in the order of the names. Errors: OSError."""
    digest = hashlib.blake2b(digest_size=16)
    buffer = bytearray(_CHUNK_BYTES)
    for path in sorted(files):
        digest.update(os.fsencode(path) + b"\0")
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(memoryview(buffer)[:count])
    return digest.hexdigest()
