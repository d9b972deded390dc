#include "bind/calls/future_object.h"

#include <pybind11/pybind11.h>

#include <utility>

#include "bind/arrays/raising.h"
#include "bind/calls/answer.h"
#include "bind/calls/caller_object.h"
#include "bind/calls/done_callbacks.h"
#include "bind/calls/future_await.h"
#include "bind/calls/preparation.h"
#include "bind/calls/waiting.h"
#include "bind/errors.h"
#include "bind/register.h"

namespace py = pybind11;

namespace fastserve::bind {
namespace {

struct FutureObject {
  PyObject_HEAD Call* call;  // Its share; null when the answer was made.
  PyObject* caller;
  PyObject* result;     // The answer, if it is one.
  PyObject* exception;  // Or why there is none.
  PyObject* callbacks;  // A list, or null when there are none.
  bool is_cancelled;
};

PyTypeObject* future_type = nullptr;

FutureObject* Self(PyObject* object) { return reinterpret_cast<FutureObject*>(object); }

// "CancelledError" of concurrent.futures, which takes a while to import.
PyObject* NewCancelledError() {
  PyObject* const module = PyImport_ImportModule("concurrent.futures");
  PyObject* const made =
      module == nullptr ? nullptr : PyObject_CallMethod(module, "CancelledError", nullptr);
  Py_XDECREF(module);
  return made;
}

void Fail(FutureObject* self, const Status& why) {
  self->is_cancelled = PyErr_Occurred() == nullptr && why.code() == Code::kCancelled;
  PyObject* const exception = self->is_cancelled ? NewCancelledError() : nullptr;
  self->exception =
      exception == nullptr ? TakeError(AsCaller(self->caller)->error, why) : exception;
}

// Makes the answer of a call that has ended, once.
void Settle(FutureObject* self) {
  if (self->call == nullptr) return;
  CallPtr call(std::exchange(self->call, nullptr));
  Status why;
  PyObject* const answer =
      Guarded(static_cast<PyObject*>(nullptr), [&] { return TakeAnswer(*call, &why); });
  if (answer == nullptr) {
    Fail(self, why);
  } else {
    self->result = answer;
  }
  DropWithGil(std::move(call));
}

// Whether it has ended, and then the answer is made.
bool IsDone(FutureObject* self) {
  if (self->call != nullptr && self->call->done()) Settle(self);
  // While another thread makes the answer there is neither: nobody else may see that as the end.
  return self->result != nullptr || self->exception != nullptr;
}

void CallCallback(PyObject* callback, PyObject* future) {
  PyObject* const returned = PyObject_CallOneArg(callback, future);
  if (returned == nullptr) return PyErr_WriteUnraisable(callback);
  Py_DECREF(returned);
}

void CallCallbacks(FutureObject* self) {
  PyObject* const callbacks = std::exchange(self->callbacks, nullptr);
  if (callbacks == nullptr) return;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(callbacks); ++i) {
    CallCallback(PyList_GET_ITEM(callbacks, i), reinterpret_cast<PyObject*>(self));
  }
  Py_DECREF(callbacks);
}

// Its deadline has passed while the model runs: nobody waits for that run any longer.
void GiveUp(FutureObject* self) {
  if (self->call == nullptr) return;
  CallPtr call(std::exchange(self->call, nullptr));
  call->Cancel();
  Fail(self, RunsLate(*call));
  DropWithGil(std::move(call));
  CallCallbacks(self);
}

// False with an exception set: TimeoutError after `timeout`, or what a signal's handler raised.
bool Wait(FutureObject* self, PyObject* timeout) {
  Nanos until = kNever;
  if (!ReadTimeout(timeout, NowNanos(), &until)) return false;
  while (!IsDone(self)) {
    if (self->call == nullptr) {
      // Another thread makes the answer, and let this one in between: it needs the GIL.
      GilPause pause;
      pause.Resume();
      continue;
    }
    if (RaiseIfForked(AsCaller(self->caller))) return false;
    CallPtr call = self->call->Share();  // Others may drop theirs meanwhile.
    const Nanos deadline = call->request.deadline_ns;
    // Who gives a time does not want it to pass in a run of unknown length.
    const Waited waited = WaitFor(*call, until, /*may_run=*/until == kNever);
    DropWithGil(std::move(call));
    if (waited == Waited::kInterrupted) return false;
    if (waited == Waited::kEnded || IsDone(self)) continue;
    if (NowNanos() > deadline) {
      GiveUp(self);
    } else if (NowNanos() > until) {
      PyErr_SetNone(PyExc_TimeoutError);
      return false;
    }
  }
  return true;
}

// ------------------------------------------------------------------------------------------------
// Methods.

// The only argument, "timeout", by place or by name; null with an exception set.
bool ReadOnlyTimeout(const char* method, PyObject* const* values, Py_ssize_t count,
                     PyObject* keywords, PyObject** timeout) {
  const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
  *timeout = nullptr;
  if (count + named == 0) return true;
  *timeout = values[0];
  const bool is_named =
      named == 0 || PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(keywords, 0), "timeout") == 0;
  if (count + named == 1 && is_named) return true;
  PyErr_Format(PyExc_TypeError, "%s() takes one argument, timeout", method);
  return false;
}

PyObject* GetResult(PyObject* object, PyObject* const* values, Py_ssize_t count,
                    PyObject* keywords) {
  PyObject* timeout = nullptr;
  if (!ReadOnlyTimeout("result", values, count, keywords, &timeout)) return nullptr;
  FutureObject* const self = Self(object);
  if (!IsDone(self) && !Wait(self, timeout)) return nullptr;
  if (self->result != nullptr) return Py_NewRef(self->result);
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(self->exception)), self->exception);
  return nullptr;
}

PyObject* GetException(PyObject* object, PyObject* const* values, Py_ssize_t count,
                       PyObject* keywords) {
  PyObject* timeout = nullptr;
  if (!ReadOnlyTimeout("exception", values, count, keywords, &timeout)) return nullptr;
  FutureObject* const self = Self(object);
  if (!IsDone(self) && !Wait(self, timeout)) return nullptr;
  if (self->is_cancelled) {
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(self->exception)), self->exception);
    return nullptr;
  }
  return Py_NewRef(self->exception == nullptr ? Py_None : self->exception);
}

PyObject* GetDone(PyObject* object, PyObject*) { return PyBool_FromLong(IsDone(Self(object))); }

PyObject* GetCancelled(PyObject* object, PyObject*) {
  return PyBool_FromLong(IsDone(Self(object)) && Self(object)->is_cancelled);
}

PyObject* Cancel(PyObject* object, PyObject*) {
  FutureObject* const self = Self(object);
  if (!IsDone(self) && self->call != nullptr) {
    CallPtr call = self->call->Share();
    call->Cancel();
    DropWithGil(std::move(call));
  }
  return PyBool_FromLong(IsDone(self) && self->is_cancelled);
}

PyObject* AddDoneCallback(PyObject* object, PyObject* callback) {
  FutureObject* const self = Self(object);
  if (PyCallable_Check(callback) == 0) {
    PyErr_Format(PyExc_TypeError, "a callback is callable, not %s", Py_TYPE(callback)->tp_name);
    return nullptr;
  }
  // Starting a thread lets others run: the call may end, and even be answered, meanwhile.
  const bool is_first = !IsDone(self) && self->call != nullptr && self->callbacks == nullptr;
  if (is_first && !StartCallbacks()) return nullptr;
  if (!IsDone(self) && self->call != nullptr) {
    if (self->callbacks == nullptr) {
      PyObject* const list = PyList_New(0);
      if (list == nullptr) return nullptr;
      self->callbacks = list;
      // The call keeps the Future until its callbacks were called.
      if (self->call->waiter == nullptr) self->call->waiter = Py_NewRef(object);
      if (!self->call->Listen(Call::Listener::kCallbacks)) {
        Py_CLEAR(self->callbacks);  // It ended just now.
      }
    }
    if (self->callbacks != nullptr) {
      if (PyList_Append(self->callbacks, callback) != 0) return nullptr;
      Py_RETURN_NONE;
    }
    IsDone(self);
  }
  CallCallback(callback, object);
  Py_RETURN_NONE;
}

// ------------------------------------------------------------------------------------------------
// The type.

int Traverse(PyObject* object, visitproc visit, void* arg) {
  FutureObject* const self = Self(object);
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(self->caller);
  Py_VISIT(self->result);
  Py_VISIT(self->exception);
  Py_VISIT(self->callbacks);
  return 0;
}

// Not `caller`: what raises needs it as long as the call may end.
int Clear(PyObject* object) {
  FutureObject* const self = Self(object);
  Py_CLEAR(self->result);
  Py_CLEAR(self->callbacks);
  return 0;
}

void Dealloc(PyObject* object) {
  PyObject_GC_UnTrack(object);
  PyTypeObject* const type = Py_TYPE(object);
  FutureObject* const self = Self(object);
  DropWithGil(CallPtr(std::exchange(self->call, nullptr)));
  Clear(object);
  Py_CLEAR(self->exception);
  Py_CLEAR(self->caller);
  type->tp_free(object);
  Py_DECREF(type);
}

template <typename Function>
PyCFunction AsMethod(Function function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function));
}

PyMethodDef methods[] = {
    {"result", AsMethod(&GetResult), METH_FASTCALL | METH_KEYWORDS, nullptr},
    {"exception", AsMethod(&GetException), METH_FASTCALL | METH_KEYWORDS, nullptr},
    {"done", &GetDone, METH_NOARGS, nullptr},
    {"cancel", &Cancel, METH_NOARGS, nullptr},
    {"cancelled", &GetCancelled, METH_NOARGS, nullptr},
    {"add_done_callback", &AddDoneCallback, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyType_Slot slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(&Dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(&Traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(&Clear)},
    {Py_tp_methods, methods},
    {Py_am_await, reinterpret_cast<void*>(&AwaitFuture)},
    {Py_tp_doc, const_cast<char*>("The answer of a submitted call, as in concurrent.futures.")},
    {0, nullptr},
};
PyType_Spec spec = {
    .name = "fastserve._core.Future",
    .basicsize = sizeof(FutureObject),
    .itemsize = 0,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

}  // namespace

PyObject* SubmitForFuture(CallPtr call) {
  auto* const self = Self(future_type->tp_alloc(future_type, 0));
  if (self == nullptr) return nullptr;
  self->caller = Py_NewRef(call->caller);
  call->Submit();
  call->servable->Wake();
  self->call = call.release();
  return reinterpret_cast<PyObject*>(self);
}

void FinishFuture(PyObject* future) {
  IsDone(Self(future));
  CallCallbacks(Self(future));
}

void RegisterFuture(py::module_& module) {
  PyObject* const type = PyType_FromSpec(&spec);
  if (type == nullptr) throw py::error_already_set();
  future_type = reinterpret_cast<PyTypeObject*>(type);
  module.add_object("Future", type);
}

}  // namespace fastserve::bind
