#include "bind/errors.h"

#include <string>

#include "protocol/http1_response.h"

namespace py = pybind11;

namespace fastserve::bind {
namespace {

// Owned by the module; alive as long as code of the module can run.
PyObject* core_error = nullptr;

}  // namespace

void RegisterErrors(py::module_& module) {
  core_error = PyErr_NewExceptionWithDoc("fastserve._core.CoreError",
                                         "A failed call of the core: args is (code, message).",
                                         nullptr, nullptr);
  if (core_error == nullptr) throw py::error_already_set();
  module.add_object("CoreError", core_error);
  py::dict statuses;
  for (int code = 1; code <= static_cast<int>(Code::kUnauthenticated); ++code) {
    const std::string name(CodeName(static_cast<Code>(code)));
    statuses[py::str(name)] = HttpStatusOf(static_cast<Code>(code));
  }
  module.attr("HTTP_STATUS") = statuses;
}

void Check(const Status& status) {
  if (status.ok()) return;
  // Messages may repeat bytes of files or clients that are no UTF-8.
  const py::object message = py::reinterpret_steal<py::object>(PyUnicode_DecodeUTF8(
      status.message().data(), static_cast<Py_ssize_t>(status.message().size()), "replace"));
  const py::tuple arguments = py::make_tuple(std::string(CodeName(status.code())), message);
  PyErr_SetObject(core_error, arguments.ptr());
  throw py::error_already_set();
}

}  // namespace fastserve::bind
