#include "bind/shm/shm_call.h"

#include <unistd.h>

#include <algorithm>
#include <new>
#include <optional>
#include <string_view>
#include <utility>

#include "bind/arrays/deferred.h"
#include "bind/arrays/numpy_arrays.h"
#include "bind/arrays/raising.h"
#include "bind/errors.h"
#include "bind/shm/shm_inputs.h"
#include "bind/shm/shm_response.h"

namespace py = pybind11;

namespace fastserve::bind {
namespace {

struct ShmCallState {
  ShmCallState(std::shared_ptr<ChannelCall> call, std::shared_ptr<const ShmSignature> signature)
      : core(std::move(call)), inputs(core, std::move(signature)) {}

  const std::shared_ptr<ChannelCall> core;
  ShmInputs inputs;
  bool is_busy = false;      // A thread is in it, perhaps without the GIL.
  bool is_given_up = false;  // It was cancelled since it was sent.
};

struct ShmCallObject {
  PyObject_HEAD ShmCallState* state;
};

PyTypeObject* call_type = nullptr;

ShmCallState& StateOf(PyObject* self) { return *reinterpret_cast<ShmCallObject*>(self)->state; }

const Numpy& TheNumpy() {
  const Numpy* const numpy = Numpy::Get();
  if (numpy == nullptr) throw py::error_already_set();
  return *numpy;
}

// A Status that says so stands for an exception that is set.
void CheckOrRaise(const Status& status) {
  if (!status.ok() && PyErr_Occurred() != nullptr) throw py::error_already_set();
  Check(status);
}

// `body(state)`, when no other thread is in the call.
template <typename Body>
PyObject* Within(PyObject* self, Body&& body) {
  ShmCallState& state = StateOf(self);
  return Guarded<PyObject*>(nullptr, [&]() -> PyObject* {
    if (state.is_busy) Check(FailedPrecondition("another thread is in this request"));
    struct Busy {
      explicit Busy(bool& flag) : flag(flag) { flag = true; }
      ~Busy() { flag = false; }
      bool& flag;
    } const busy(state.is_busy);
    return body(state);
  });
}

// ------------------------------------------------------------------------------------------------
// Arguments.

bool HasCount(const char* method, Py_ssize_t count, Py_ssize_t expected) {
  if (count == expected) return true;
  PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments, but %zd were given", method, expected,
               count);
  return false;
}

std::string_view NameOf(PyObject* name) {
  Py_ssize_t size = 0;
  const char* const text = PyUnicode_Check(name) ? PyUnicode_AsUTF8AndSize(name, &size) : nullptr;
  if (text != nullptr) return {text, static_cast<size_t>(size)};
  if (PyErr_Occurred() == nullptr) {
    PyErr_Format(PyExc_TypeError, "names of tensors are str, not %s", Py_TYPE(name)->tp_name);
  }
  throw py::error_already_set();
}

Nanos TimeOf(PyObject* nanos) {
  const long long time = PyLong_AsLongLong(nanos);
  if (time == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
  return time;
}

Shape ShapeOf(PyObject* dims) {
  Shape shape;
  for (const py::handle dim : py::reinterpret_borrow<py::tuple>(dims)) {
    if (!shape.Append(TimeOf(dim.ptr()))) {
      Check(InvalidArgument("a shape has ", PyTuple_GET_SIZE(dims),
                            " dimensions, expected at most ", Shape::kMaxRank));
    }
  }
  return shape;
}

// ------------------------------------------------------------------------------------------------
// Waiting.

using Response = Result<std::optional<ChannelResponse>>;

// A signal ends no sleep of the core's: Python's handlers run this long after it, on its main
// thread alone, which most likely is the process's.
constexpr Nanos kMainThreadSleepMax = 50 * kMillisecond;
constexpr Nanos kSleepMax = kSecond;

Nanos SleepMax() {
  thread_local const bool is_main = getpid() == gettid();
  return is_main ? kMainThreadSleepMax : kSleepMax;
}

Response NextOf(ChannelCall& call, Nanos until) {
  try {
    return call.Next(until);
  } catch (const std::bad_alloc&) {
    return Status::OutOfMemory();
  }
}

Response NextWithoutGil(ChannelCall& call, Nanos until) {
  GilPause pause;
  Response next = NextOf(call, until);
  pause.Resume();
  return next;
}

// (model, version, id, outputs); None when it is over; False when nothing came until then.
PyObject* TakeUntil(ChannelCall& call, Nanos until) {
  while (true) {
    const Nanos now = until == 0 ? 0 : NowNanos();
    Response next = until <= now ? NextOf(call, until)
                                 : NextWithoutGil(call, std::min(until, now + SleepMax()));
    if (next.status().code() == Code::kDeadlineExceeded) {
      // Nothing came, or that is how it ended, or it ended just now.
      if (call.is_under_way()) {
        if (until <= now) Py_RETURN_FALSE;
        if (PyErr_CheckSignals() != 0) return nullptr;
        continue;
      }
      next = NextOf(call, 0);
    }
    Check(next.status());
    if (!next->has_value()) Py_RETURN_NONE;
    return AnswerOf(TheNumpy(), **std::move(next)).release().ptr();
  }
}

// ------------------------------------------------------------------------------------------------
// Methods.

PyObject* GetInput(PyObject* self, PyObject* name) {
  return Within(self, [&](ShmCallState& state) {
    return state.inputs.Get(TheNumpy(), NameOf(name)).release().ptr();
  });
}

PyObject* AddInput(PyObject* self, PyObject* const* values, Py_ssize_t count) {
  if (!HasCount("add_input", count, 2)) return nullptr;
  if (!PyTuple_Check(values[1])) {
    PyErr_Format(PyExc_TypeError, "a shape is a tuple, not %s", Py_TYPE(values[1])->tp_name);
    return nullptr;
  }
  return Within(self, [&](ShmCallState& state) {
    return state.inputs.Allocate(TheNumpy(), NameOf(values[0]), ShapeOf(values[1])).release().ptr();
  });
}

PyObject* Assign(PyObject* self, PyObject* const* values, Py_ssize_t count) {
  if (!HasCount("assign", count, 2)) return nullptr;
  return Within(self, [&](ShmCallState& state) -> PyObject* {
    CheckOrRaise(state.inputs.Assign(TheNumpy(), NameOf(values[0]), values[1], state.is_given_up));
    Py_RETURN_NONE;
  });
}

PyObject* Want(PyObject* self, PyObject* name) {
  return Within(self, [&](ShmCallState& state) -> PyObject* {
    Check(state.core->Want(NameOf(name)));
    Py_RETURN_NONE;
  });
}

PyObject* Send(PyObject* self, PyObject* deadline) {
  return Within(self, [&](ShmCallState& state) -> PyObject* {
    Check(state.core->Send(TimeOf(deadline)));
    state.is_given_up = false;
    Py_RETURN_NONE;
  });
}

PyObject* Stream(PyObject* self, PyObject* deadline) {
  return Within(self, [&](ShmCallState& state) -> PyObject* {
    Check(state.core->Stream(TimeOf(deadline)));
    state.is_given_up = false;
    Py_RETURN_NONE;
  });
}

PyObject* TakeNext(PyObject* self, PyObject* until) {
  return Within(self, [&](ShmCallState& state) { return TakeUntil(*state.core, TimeOf(until)); });
}

PyObject* Ask(PyObject* self, PyObject* const* values, Py_ssize_t count) {
  if (!HasCount("ask", count, 2)) return nullptr;
  return Within(self, [&](ShmCallState& state) {
    const Nanos until = TimeOf(values[1]);
    Check(state.core->Send(TimeOf(values[0])));
    state.is_given_up = false;
    return TakeUntil(*state.core, until);
  });
}

PyObject* Watch(PyObject* self, PyObject* tag) {
  return Within(self, [&](ShmCallState& state) {
    return PyBool_FromLong(state.core->Watch(static_cast<uint64_t>(TimeOf(tag))));
  });
}

PyObject* Cancel(PyObject* self, PyObject*) {
  ShmCallState& state = StateOf(self);
  return Guarded<PyObject*>(nullptr, [&] {
    state.is_given_up = true;
    state.core->Cancel();
    return Py_NewRef(Py_None);
  });
}

PyObject* GetIsUnderWay(PyObject* self, void*) {
  return PyBool_FromLong(StateOf(self).core->is_under_way());
}

// ------------------------------------------------------------------------------------------------
// The type.

void Dealloc(PyObject* self) {
  PyTypeObject* const type = Py_TYPE(self);
  delete reinterpret_cast<ShmCallObject*>(self)->state;
  type->tp_free(self);
  Py_DECREF(type);
}

template <typename Function>
PyCFunction AsMethod(Function function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function));
}

PyMethodDef methods[] = {
    {"input", &GetInput, METH_O, nullptr},
    {"add_input", AsMethod(&AddInput), METH_FASTCALL, nullptr},
    {"assign", AsMethod(&Assign), METH_FASTCALL, nullptr},
    {"want", &Want, METH_O, nullptr},
    {"send", &Send, METH_O, nullptr},
    {"stream", &Stream, METH_O, nullptr},
    {"take", &TakeNext, METH_O, nullptr},
    {"ask", AsMethod(&Ask), METH_FASTCALL, nullptr},
    {"watch", &Watch, METH_O, nullptr},
    {"cancel", &Cancel, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyGetSetDef properties[] = {
    {"is_under_way", &GetIsUnderWay, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyType_Slot slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(&Dealloc)},
    {Py_tp_methods, methods},
    {Py_tp_getset, properties},
    {Py_tp_doc, const_cast<char*>("A request over shared memory.")},
    {0, nullptr},
};
PyType_Spec spec = {
    .name = "fastserve._core.ShmCall",
    .basicsize = sizeof(ShmCallObject),
    .itemsize = 0,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

}  // namespace

py::object NewShmCall(std::shared_ptr<ChannelCall> call,
                      std::shared_ptr<const ShmSignature> signature) {
  auto state = std::make_unique<ShmCallState>(std::move(call), std::move(signature));
  PyObject* const self = call_type->tp_alloc(call_type, 0);
  if (self == nullptr) throw py::error_already_set();
  reinterpret_cast<ShmCallObject*>(self)->state = state.release();
  return py::reinterpret_steal<py::object>(self);
}

void RegisterShmCall(py::module_& module) {
  PyObject* const type = PyType_FromSpec(&spec);
  if (type == nullptr) throw py::error_already_set();
  call_type = reinterpret_cast<PyTypeObject*>(type);
  module.add_object("ShmCall", type);
}

}  // namespace fastserve::bind
