// _core.Caller: requests to one model from Python code of the same process.
//
// A raw C type: infer is one call from Python, with no Python frame of ours. The Python class
// fastserve.Model derives from it.
//
// Threads: any, with the GIL. (The fields change only in __init__, but for the names, whose
// exchange counts on the GIL.)
#pragma once

#include <Python.h>

#include <memory>
#include <string>
#include <vector>

#include "bind/calls/call.h"
#include "serving/serving_map.h"

namespace fastserve::bind {

// The names of a version's inputs and outputs as interned Python strings; made once.
struct TensorNames {
  TensorNames() = default;
  TensorNames(const TensorNames&) = delete;
  TensorNames& operator=(const TensorNames&) = delete;
  ~TensorNames();  // With the GIL.

  std::weak_ptr<Servable> servable;
  std::vector<PyObject*> inputs;  // Owned, as are those of the outputs.
  std::vector<PyObject*> outputs;
};

struct CallerState {
  std::shared_ptr<ServingMap> serving_map;
  std::string name;
  std::string version;  // "": the default.
  uint32_t fork_generation = 0;
  // Those of the version that was called last.
  std::shared_ptr<const TensorNames> names;
};

struct CallerObject {
  PyObject_HEAD PyObject* error;  // What failures raise: error(code, message).
  CallerState* state;             // Null until __init__.
};

inline CallerObject* AsCaller(PyObject* object) { return reinterpret_cast<CallerObject*>(object); }

// The names of `servable`'s tensors, to be held while they are used: other threads may call another
// version meanwhile. Null with an exception set.
std::shared_ptr<const TensorNames> NamesOf(CallerObject* caller, const ServableHandle& servable);

// Whether the caller's model stayed in the parent process; then an exception is set.
bool RaiseIfForked(CallerObject* caller);

}  // namespace fastserve::bind
