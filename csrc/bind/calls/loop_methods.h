// The methods of asyncio's loops and futures that are called for each call, by interned names.
//
// Threads: with the GIL.
#pragma once

#include <Python.h>

namespace fastserve::bind {

struct LoopMethods {
  static const LoopMethods& Get() {
    static const LoopMethods methods;
    return methods;
  }
  // New reference to the loop that runs on this thread; null with RuntimeError set.
  static PyObject* RunningLoop();

  PyObject* create_future = PyUnicode_InternFromString("create_future");
  PyObject* call_soon = PyUnicode_InternFromString("call_soon");
  PyObject* call_later = PyUnicode_InternFromString("call_later");
  PyObject* add_reader = PyUnicode_InternFromString("add_reader");
  PyObject* remove_reader = PyUnicode_InternFromString("remove_reader");
  PyObject* is_closed = PyUnicode_InternFromString("is_closed");
  PyObject* add_done_callback = PyUnicode_InternFromString("add_done_callback");
  PyObject* remove_done_callback = PyUnicode_InternFromString("remove_done_callback");
  PyObject* set_result = PyUnicode_InternFromString("set_result");
  PyObject* set_exception = PyUnicode_InternFromString("set_exception");
  PyObject* done = PyUnicode_InternFromString("done");
  PyObject* cancel = PyUnicode_InternFromString("cancel");
  PyObject* cancelled = PyUnicode_InternFromString("cancelled");
};

// A new reference to what the method gave, or null with an exception set.
template <typename... Arguments>
PyObject* CallMethod(PyObject* object, PyObject* method, Arguments... arguments) {
  PyObject* const values[] = {object, arguments...};
  return PyObject_VectorcallMethod(method, values, 1 + sizeof...(arguments), nullptr);
}

// What was given is of no use; false if it is null.
inline bool Ok(PyObject* given) {
  Py_XDECREF(given);
  return given != nullptr;
}

// The same where there is nobody to tell.
inline void Report(PyObject* given, PyObject* context) {
  if (!Ok(given)) PyErr_WriteUnraisable(context);
}

}  // namespace fastserve::bind
