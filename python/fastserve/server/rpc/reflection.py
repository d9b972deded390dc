"""grpc.reflection: what a client that has no .proto file asks."""

from __future__ import annotations

from typing import Any

from fastserve.rpc import descriptors

_NOT_FOUND, _UNIMPLEMENTED = 5, 12


def reflect(request: Any, response: Any) -> Any:
    """Fills in the response to one message of the stream."""
    response.valid_host = request.host
    response.original_request.CopyFrom(request)
    asked = request.WhichOneof("message_request")
    if asked == "list_services":
        for name in descriptors.services():
            response.list_services_response.service.add(name=name)
    elif asked == "file_by_filename":
        _answer_file(response, descriptors.files().get(request.file_by_filename),
                     f"there is no file '{request.file_by_filename[:200]}'")  # fmt: skip
    elif asked == "file_containing_symbol":
        symbol = request.file_containing_symbol
        _answer_file(response, _file_of(symbol), f"there is no symbol '{symbol[:200]}'")
    elif asked == "all_extension_numbers_of_type" or asked == "file_containing_extension":
        _refuse(response, _NOT_FOUND, "there are no extensions")
    else:
        _refuse(response, _UNIMPLEMENTED, "the message asks for nothing that is known here")
    return response


def _file_of(symbol: str) -> Any:
    for file in descriptors.files().values():
        if symbol in set(descriptors.symbols(file)):
            return file
    return None


def _answer_file(response: Any, file: Any, why_not: str) -> None:
    """The file and all that it imports, so that the client need not ask again."""
    if file is None:
        _refuse(response, _NOT_FOUND, why_not)
        return
    wanted = [file]
    for one in wanted:
        wanted += [descriptors.files()[name] for name in one.dependency]
    for one in wanted:
        response.file_descriptor_response.file_descriptor_proto.append(one.SerializeToString())


def _refuse(response: Any, code: int, message: str) -> None:
    response.error_response.error_code = code
    response.error_response.error_message = message
