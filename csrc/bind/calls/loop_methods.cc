#include "bind/calls/loop_methods.h"

namespace fastserve::bind {

PyObject* LoopMethods::RunningLoop() {
  static PyObject* get_running_loop = nullptr;
  if (get_running_loop == nullptr) {
    PyObject* const module = PyImport_ImportModule("asyncio");
    if (module == nullptr) return nullptr;
    get_running_loop = PyObject_GetAttrString(module, "get_running_loop");
    Py_DECREF(module);
    if (get_running_loop == nullptr) return nullptr;
  }
  return PyObject_CallNoArgs(get_running_loop);
}

}  // namespace fastserve::bind
