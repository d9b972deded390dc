"""Whose program is at the other end of a TCP connection on this machine: the kernel's tables say.

    uid_of_address("127.0.0.1:40312")    0, or -1 if nobody is there

See proc(5) on /proc/net/tcp: addresses are in hexadecimal, each 32 bits in the byte order of the
machine, and every line names the user of its socket.
"""

from __future__ import annotations

import ipaddress
import struct
import sys
from pathlib import Path

_TABLES = ("tcp", "tcp6")
_ESTABLISHED = "01"
_ROOT = Path("/proc/net")


def uid_of_address(peer: str, root: Path = _ROOT) -> int:
    """The user of the socket that has this address and port as its own; -1 if it is unknown."""
    host, _, port = peer.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]"))
        spellings = {f"{spelled}:{int(port):04X}" for spelled in _spellings(address)}
    except ValueError:
        return -1
    for table in _TABLES:
        try:
            lines = (root / table).read_text(encoding="ascii").splitlines()[1:]
        except (OSError, UnicodeDecodeError):
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 7 and fields[1] in spellings and fields[3] == _ESTABLISHED:
                return int(fields[7]) if fields[7].isdigit() else -1
    return -1


def _spellings(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> set[str]:
    """An IPv4 peer of a socket for both is an IPv6 address to one side, and none to the other."""
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return {_hexadecimal(address.packed)} | (_spellings(mapped) if mapped else set())
    return {_hexadecimal(address.packed), _hexadecimal(b"\0" * 10 + b"\xff\xff" + address.packed)}


def _hexadecimal(packed: bytes) -> str:
    order = "<" if sys.byteorder == "little" else ">"
    words = struct.unpack(f"{order}{len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words)
