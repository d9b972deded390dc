#include "bind/arrays/deferred.h"

#include <atomic>
#include <utility>

#include "base/annotations.h"
#include "base/fork.h"
#include "bind/register.h"
#include "sync/inbox.h"

namespace py = pybind11;

namespace fastserve::bind {
namespace {

// Found without a call, which every access would cost in a library that is opened at run time; the
// loader keeps room for such.
[[gnu::tls_model("initial-exec")]] thread_local bool gil_is_held = false;

struct State {
  Inbox<Deferred, &Deferred::next_deferred> inbox;
  // Whether the interpreter was asked to come by and has not come yet.
  std::atomic<bool> asked{false};
  const uint32_t fork_generation = ForkGeneration();
  // Held while the interpreter is asked, so that it does not end meanwhile.
  Mutex mutex;
  bool interpreter_ends FS_GUARDED_BY(mutex) = false;
};

// Never destroyed: an instance may end its last run while the process ends.
State& TheState() {
  static auto* const state = new State;
  return *state;
}

int ComeBy(void*) {
  // Before it takes: whoever leaves something after that asks again.
  TheState().asked.store(false, std::memory_order_relaxed);
  RunDeferred();
  return 0;
}

// Takes a lock of the interpreter's for an instant, not the GIL. When its list is full nobody comes
// by; whoever enters next finds what was left.
void Ask(State& state) {
  if (ForkedSince(state.fork_generation)) return;  // Another thread may have held the mutex.
  if (state.asked.exchange(true, std::memory_order_relaxed)) return;
  const MutexLock lock(state.mutex);
  if (state.interpreter_ends) return;
  if (Py_AddPendingCall(&ComeBy, nullptr) != 0) {
    state.asked.store(false, std::memory_order_relaxed);
  }
}

PyObject* InterpreterEnds(PyObject*, PyObject*) {
  State& state = TheState();
  if (!ForkedSince(state.fork_generation)) {
    const MutexLock lock(state.mutex);
    state.interpreter_ends = true;
  }
  Py_RETURN_NONE;
}

PyMethodDef interpreter_ends_def = {"interpreter_ends", &InterpreterEnds, METH_NOARGS, nullptr};

}  // namespace

void RunWithGil(Deferred* node) {
  if (gil_is_held) return node->run(node);
  State& state = TheState();
  // Also when the inbox was not empty: whoever was asked may have come and gone before this.
  (void)state.inbox.Push(node);
  Ask(state);
}

void RunDeferred() {
  State& state = TheState();
  if (state.inbox.was_empty()) return;
  Deferred* node = state.inbox.TakeAll();
  while (node != nullptr) {
    Deferred* const next = node->next_deferred;
    const GilHeld held;
    node->run(node);
    node = next;
  }
}

GilHeld::GilHeld() : before_(std::exchange(gil_is_held, true)) {}

GilHeld::~GilHeld() { gil_is_held = before_; }

GilPause::GilPause()
    : state_(PyEval_SaveThread()), held_before_(std::exchange(gil_is_held, false)) {}

void GilPause::Resume() {
  PyEval_RestoreThread(state_);
  gil_is_held = held_before_;
}

void RegisterDeferred(py::module_&) {
  TheState();
  const py::object ends =
      py::reinterpret_steal<py::object>(PyCFunction_New(&interpreter_ends_def, nullptr));
  if (!ends) throw py::error_already_set();
  py::module_::import("atexit").attr("register")(ends);
}

}  // namespace fastserve::bind
