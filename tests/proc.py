"""Whether /proc tells of the processes that this one knows.

In a container that shares its host's /proc the kernel numbers processes there as the host does:
what reads /proc/<pid> then finds somebody else, or nobody.
"""

import os

import pytest

IS_OURS = os.readlink("/proc/self") == str(os.getpid())

needs_own_proc = pytest.mark.skipif(
    not IS_OURS, reason="this /proc is not of this process namespace"
)
