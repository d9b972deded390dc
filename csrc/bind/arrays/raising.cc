#include "bind/arrays/raising.h"

namespace fastserve::bind {
namespace {

PyObject* ArgumentsOf(const Status& status) {
  const std::string code(CodeName(status.code()));
  // Messages may repeat bytes that are no UTF-8.
  PyObject* const message = PyUnicode_DecodeUTF8(
      status.message().data(), static_cast<Py_ssize_t>(status.message().size()), "replace");
  return message == nullptr ? nullptr : Py_BuildValue("(sN)", code.c_str(), message);
}

}  // namespace

Status PythonsError() { return Status(Code::kUnknown, "an exception is set"); }

PyObject* Raise(PyObject* error, const Status& status) {
  if (PyErr_Occurred() != nullptr) return nullptr;
  PyObject* const arguments = ArgumentsOf(status);
  if (arguments == nullptr) return nullptr;
  PyErr_SetObject(error, arguments);
  Py_DECREF(arguments);
  return nullptr;
}

PyObject* TakeError(PyObject* error, const Status& status) {
  Raise(error, status);
#if PY_VERSION_HEX >= 0x030C0000
  return PyErr_GetRaisedException();
#else
  PyObject* type = nullptr;
  PyObject* value = nullptr;
  PyObject* traceback = nullptr;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  if (traceback != nullptr) PyException_SetTraceback(value, traceback);
  Py_XDECREF(type);
  Py_XDECREF(traceback);
  return value;
#endif
}

std::string TextOf(PyObject* object) {
  PyObject* const text = PyObject_Str(object);
  const char* const utf8 = text == nullptr ? nullptr : PyUnicode_AsUTF8(text);
  std::string made = utf8 == nullptr ? "?" : utf8;
  if (utf8 == nullptr) PyErr_Clear();
  Py_XDECREF(text);
  return made;
}

}  // namespace fastserve::bind
