// _core.Caller: requests to one model from Python code of the same process.
//
// A raw C type: infer is one call from Python, with no Python frame of ours. The Python class
// fastserve.Model derives from it.
//
// Threads: any, with the GIL. (The fields change only in __init__, but for the cached names, which
// count on the GIL.)
#pragma once

#include <Python.h>

#include <memory>
#include <string>
#include <vector>

#include "bind/calls/call.h"
#include "serving/serving_map.h"

namespace fastserve::bind {

struct CallerState {
  std::shared_ptr<ServingMap> serving_map;
  std::string name;
  std::string version;  // "": the default.
  uint32_t fork_generation = 0;

  // The names of a version's inputs and outputs as interned Python strings, owned. They are those
  // of the version that was called last.
  std::weak_ptr<Servable> named;
  std::vector<PyObject*> input_names;
  std::vector<PyObject*> output_names;
};

struct CallerObject {
  PyObject_HEAD PyObject* error;  // What failures raise: error(code, message).
  CallerState* state;             // Null until __init__.
};

inline CallerObject* AsCaller(PyObject* object) { return reinterpret_cast<CallerObject*>(object); }

// The names of `servable`'s inputs and outputs are in caller->state from now on; false with an
// exception set.
bool NameTensors(CallerObject* caller, const ServableHandle& servable);

// Whether the caller's model stayed in the parent process; then an exception is set.
bool RaiseIfForked(CallerObject* caller);

}  // namespace fastserve::bind
