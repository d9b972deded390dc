"""A client's part of the core, under a name of its own: see client.pyi."""

from fastserve._core._core import ClientRequest as ClientRequest
from fastserve._core._core import GrpcSession as GrpcSession
from fastserve._core._core import HttpSession as HttpSession
