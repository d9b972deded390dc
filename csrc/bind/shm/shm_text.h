// Text of a server's as Python's, UTF-8 or not.
//
// Threads: with the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include <string_view>

namespace fastserve::bind {

inline pybind11::object Steal(PyObject* object) {
  if (object == nullptr) throw pybind11::error_already_set();
  return pybind11::reinterpret_steal<pybind11::object>(object);
}

inline pybind11::object StrOf(std::string_view text) {
  return Steal(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

}  // namespace fastserve::bind
