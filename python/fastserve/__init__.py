"""fastserve: serve models over HTTP and shared memory from a C++ core.

Public names only; importing this package loads neither the core nor numpy.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
