#include "bind/client/client_request.h"

#include <utility>

#include "bind/arrays/deferred.h"
#include "bind/arrays/input_reader.h"
#include "bind/arrays/numpy_arrays.h"
#include "bind/errors.h"

namespace py = pybind11;

namespace fastserve::bind {
namespace {

// A Status that says so stands for an exception that is set.
void CheckOrRaise(const Status& status) {
  if (PyErr_Occurred() != nullptr) throw py::error_already_set();
  Check(status);
}

}  // namespace

ClientRequest::ClientRequest(std::string_view model, std::string_view version,
                             std::string_view id) {
  body.model_name = Keep(model);
  body.model_version = Keep(version);
  body.id = Keep(id);
  body.has_id = !id.empty();
}

ClientRequest::~ClientRequest() {
  const GilHeld held;  // It may be memory of Python's.
  owners.clear();
}

void ClientRequest::AddInput(std::string_view name, const py::object& value) {
  const Numpy* const numpy = Numpy::Get();
  if (numpy == nullptr) throw py::error_already_set();
  if (body.inputs.size() == kMaxRequestTensors) {
    Check(InvalidArgument("more than ", kMaxRequestTensors, " inputs"));
  }
  NamedInput input{.name = Keep(name), .tensor = {}, .owner = {}};
  const GilHeld held;
  CheckOrRaise(ReadTypedInput(*numpy, value.ptr(), &input));
  body.inputs.push_back({.name = input.name, .tensor = input.tensor});
  owners.push_back(std::move(input.owner));
}

void ClientRequest::AddOutput(std::string_view name, uint32_t classification) {
  body.outputs.push_back({.name = Keep(name), .binary = true, .classification = classification});
}

void ClientRequest::AddParameter(std::string_view name, const py::object& value) {
  InferParameter parameter{.name = Keep(name), .value = false};
  if (PyBool_Check(value.ptr())) {
    parameter.value = value.ptr() == Py_True;
  } else if (PyLong_Check(value.ptr())) {
    int overflow = 0;
    const long long number = PyLong_AsLongLongAndOverflow(value.ptr(), &overflow);
    if (overflow > 0) {
      parameter.value = uint64_t{PyLong_AsUnsignedLongLong(value.ptr())};
    } else {
      parameter.value = int64_t{number};
    }
    if (overflow < 0 || PyErr_Occurred() != nullptr) {
      PyErr_Clear();
      Check(InvalidArgument("parameter '", name, "': expected an integer of at most 64 bits"));
    }
  } else if (PyFloat_Check(value.ptr())) {
    parameter.value = PyFloat_AS_DOUBLE(value.ptr());
  } else if (PyUnicode_Check(value.ptr())) {
    parameter.value = Keep(value.cast<std::string_view>());
  } else {
    Check(InvalidArgument("parameter '", name, "': expected a bool, an int, a float or a str, not ",
                          Py_TYPE(value.ptr())->tp_name));
  }
  body.parameters.push_back(parameter);
}

void ClientRequest::SetSequence(const py::object& id, bool start, bool end) {
  if (PyUnicode_Check(id.ptr())) {
    body.sequence.name = Keep(id.cast<std::string_view>());
  } else {
    body.sequence.id = id.cast<uint64_t>();
  }
  body.sequence.start = start;
  body.sequence.end = end;
}

}  // namespace fastserve::bind
