// _core.Caller: requests to one model from Python code of the same process.
//
// A raw C type: infer is one call from Python, with no Python frame of ours. The Python class
// fastserve.Model derives from it: each Model is a Caller of the one that its loaded version has,
// so that all of them end together. Calls hold that one, and never a Model, which keeps its Server.
//
// Threads: any, with the GIL. (The fields change only in __init__, but for `end` and what is known
// of the version that was called last, whose exchange counts on the GIL.)
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
  // Those of the version that was called last, found when the map had changed so often.
  std::shared_ptr<const TensorNames> names;
  uint64_t changes = 0;
  // What every call is told from now on; ok while there is somebody to call.
  Status end;
};

struct CallerObject {
  PyObject_HEAD PyObject* error;  // What failures raise: error(code, message).
  CallerState* state;             // Null until __init__, and in a Caller of another.
  PyObject* target;               // The other, owned, which has a state; else null.
};

inline CallerObject* AsCaller(PyObject* object) { return reinterpret_cast<CallerObject*>(object); }

// The one that calls hold.
inline CallerObject* TargetOf(PyObject* object) {
  CallerObject* const caller = AsCaller(object);
  return caller->target == nullptr ? caller : AsCaller(caller->target);
}

// Gives `call` the version that is served now, and the names of its tensors: other threads may call
// another version meanwhile. Errors: NOT_FOUND; an exception that is set.
Status FindModel(CallerState& state, Call& call);

// Whether the caller's model stayed in the parent process; then an exception is set.
bool RaiseIfForked(CallerObject* caller);

}  // namespace fastserve::bind
