#include "bind/calls/done_callbacks.h"

#include <Python.h>

#include "base/fork.h"
#include "bind/calls/call.h"
#include "bind/calls/future_object.h"
#include "sync/inbox.h"
#include "sync/signal.h"

namespace fastserve::bind {
namespace {

struct Callbacks {
  Inbox<Call, &Call::next_in_queue> inbox;
  Signal signal;
};

// Never destroyed: the thread sleeps here while the process ends.
Callbacks& TheCallbacks() {
  static auto* const callbacks = new Callbacks;
  return *callbacks;
}

PyObject* CallCallbacks(PyObject*, PyObject*) {
  Callbacks& callbacks = TheCallbacks();
  while (true) {
    GilPause pause;
    while (callbacks.inbox.was_empty()) {
      const uint32_t key = callbacks.signal.Prepare();
      if (callbacks.inbox.was_empty()) callbacks.signal.Wait(key, kNever);
    }
    pause.Resume();
    RunDeferred();
    for (Call* call = callbacks.inbox.TakeAll(); call != nullptr;) {
      Call* const next = call->next_in_queue;
      // In turn: when one is interrupted, by the end of the interpreter, the others are lost.
      FinishFuture(call->waiter);
      DropWithGil(CallPtr(call));
      call = next;
    }
  }
}

PyMethodDef call_callbacks_def = {"fastserve_callbacks", &CallCallbacks, METH_NOARGS, nullptr};

bool StartThread() {
  PyObject* const function = PyCFunction_New(&call_callbacks_def, nullptr);
  PyObject* const module = PyImport_ImportModule("threading");
  PyObject* const type = module == nullptr ? nullptr : PyObject_GetAttrString(module, "Thread");
  PyObject* const nothing = PyTuple_New(0);
  PyObject* const keywords = Py_BuildValue("{s:O,s:s,s:O}", "target", function, "name",
                                           "fastserve-callbacks", "daemon", Py_True);
  PyObject* const thread = type == nullptr || nothing == nullptr || keywords == nullptr
                               ? nullptr
                               : PyObject_Call(type, nothing, keywords);
  PyObject* const started =
      thread == nullptr ? nullptr : PyObject_CallMethod(thread, "start", nullptr);
  const bool is_started = started != nullptr;
  for (PyObject* object : {function, module, type, nothing, keywords, thread, started}) {
    Py_XDECREF(object);
  }
  return is_started;
}

}  // namespace

bool StartCallbacks() {
  static bool is_started = false;
  static uint32_t generation = 0;
  if (is_started && !ForkedSince(generation)) return true;
  // First: starting waits for the new thread, and others may come by meanwhile.
  is_started = true;
  generation = ForkGeneration();
  if (!StartThread()) is_started = false;
  return is_started;
}

void PushToCallbacks(Call* call) {
  Callbacks& callbacks = TheCallbacks();
  if (callbacks.inbox.Push(call)) callbacks.signal.Notify();
}

}  // namespace fastserve::bind
