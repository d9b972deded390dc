#include "bind/calls/loop_calls.h"

#include <pybind11/pybind11.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "base/fork.h"
#include "bind/arrays/raising.h"
#include "bind/calls/answer.h"
#include "bind/calls/caller_object.h"
#include "bind/calls/loop_methods.h"
#include "bind/calls/loop_queue.h"
#include "bind/calls/waiting.h"
#include "bind/errors.h"
#include "bind/register.h"

namespace py = pybind11;

namespace fastserve::bind {
namespace {

// What the models may take at the end of one iteration of a loop, which others wait for.
constexpr Nanos kIterationBudget = 1 * kMillisecond;

struct LoopCalls {
  std::shared_ptr<LoopQueue> queue;
  PyObject* loop = nullptr;   // Owned; null: idle.
  PyObject* timer = nullptr;  // The loop's handle, owned.
  Nanos timer_ns = kNever;
  Call* pending = nullptr;  // Not answered yet; each with Python's share.
  // Not later than the first deadline among them.
  Nanos first_deadline_ns = kNever;
  std::vector<ServableHandle> submitted;  // Since the last end of an iteration.
  bool iteration_is_scheduled = false;
  bool is_watching = false;
  // What the loop calls. They live as long as this, which is for ever.
  PyObject* end_iteration = nullptr;
  PyObject* drain = nullptr;
  PyObject* check_deadlines = nullptr;
  PyObject* on_future_done = nullptr;
};

// There are as many as loops had calls at the same time; they count on the GIL.
struct AllLoopCalls {
  std::vector<LoopCalls*> active;
  std::vector<LoopCalls*> idle;
  uint32_t fork_generation = ForkGeneration();
};
AllLoopCalls& All() {
  static auto* const all = new AllLoopCalls;
  if (ForkedSince(all->fork_generation)) {
    // The parent's: their eventfds are shared with it. Left where they are.
    *all = AllLoopCalls();
  }
  return *all;
}

void Link(LoopCalls& loop_calls, Call* call) {
  call->next_pending = loop_calls.pending;
  call->previous_pending = nullptr;
  if (call->next_pending != nullptr) call->next_pending->previous_pending = call;
  loop_calls.pending = call;
  loop_calls.first_deadline_ns = std::min(loop_calls.first_deadline_ns, call->request.deadline_ns);
}

// The caller has Python's share then.
void Unlink(LoopCalls& loop_calls, Call* call) {
  Call* const next = call->next_pending;
  Call* const previous = call->previous_pending;
  if (next != nullptr) next->previous_pending = previous;
  (previous != nullptr ? previous->next_pending : loop_calls.pending) = next;
}

// ------------------------------------------------------------------------------------------------
// What is registered with the loop.

void StopTimer(LoopCalls& loop_calls) {
  if (loop_calls.timer == nullptr) return;
  PyObject* const timer = std::exchange(loop_calls.timer, nullptr);
  loop_calls.timer_ns = kNever;
  Report(CallMethod(timer, LoopMethods::Get().cancel), timer);
  Py_DECREF(timer);
}

void StartTimer(LoopCalls& loop_calls) {
  if (loop_calls.first_deadline_ns >= loop_calls.timer_ns) return;
  StopTimer(loop_calls);
  const Nanos left = std::max<Nanos>(loop_calls.first_deadline_ns - NowNanos(), 0);
  PyObject* const seconds = PyFloat_FromDouble(static_cast<double>(left) / kSecond);
  if (seconds == nullptr) return PyErr_WriteUnraisable(loop_calls.loop);
  loop_calls.timer = CallMethod(loop_calls.loop, LoopMethods::Get().call_later, seconds,
                                loop_calls.check_deadlines);
  Py_DECREF(seconds);
  if (loop_calls.timer == nullptr) return PyErr_WriteUnraisable(loop_calls.loop);
  loop_calls.timer_ns = loop_calls.first_deadline_ns;
}

void Watch(LoopCalls& loop_calls, bool watch) {
  if (loop_calls.is_watching == watch) return;
  loop_calls.is_watching = watch;
  const LoopMethods& methods = LoopMethods::Get();
  PyObject* const fd = PyLong_FromLong(loop_calls.queue->fd());
  if (fd == nullptr) return PyErr_WriteUnraisable(loop_calls.loop);
  Report(watch ? CallMethod(loop_calls.loop, methods.add_reader, fd, loop_calls.drain)
               : CallMethod(loop_calls.loop, methods.remove_reader, fd),
         loop_calls.loop);
  Py_DECREF(fd);
}

void BecomeIdle(LoopCalls& loop_calls) {
  AllLoopCalls& all = All();
  std::erase(all.active, &loop_calls);
  all.idle.push_back(&loop_calls);
  loop_calls.first_deadline_ns = kNever;
  Py_CLEAR(loop_calls.loop);
}

// After calls were answered or given up, and at the end of an iteration.
void Update(LoopCalls& loop_calls) {
  if (loop_calls.iteration_is_scheduled || loop_calls.loop == nullptr) return;
  if (loop_calls.pending != nullptr) {
    Watch(loop_calls, true);
    return StartTimer(loop_calls);
  }
  Watch(loop_calls, false);
  StopTimer(loop_calls);
  BecomeIdle(loop_calls);
}

// ------------------------------------------------------------------------------------------------
// Ends.

// Gives the waiter what `answer` or else `why` says; `answer` is taken over.
void Tell(LoopCalls& loop_calls, Call& call, PyObject* answer, const Status& why) {
  PyObject* const future = std::exchange(call.waiter, nullptr);
  if (future == nullptr) {
    Py_XDECREF(answer);
    return;
  }
  const LoopMethods& methods = LoopMethods::Get();
  const bool is_answer = answer != nullptr;
  if (!is_answer) answer = TakeError(AsCaller(call.caller)->error, why);
  PyObject* const done = CallMethod(future, methods.done);
  if (answer != nullptr && done == Py_False) {
    Report(CallMethod(future, methods.remove_done_callback, loop_calls.on_future_done), future);
    Report(CallMethod(future, is_answer ? methods.set_result : methods.set_exception, answer),
           future);
  }
  if (answer == nullptr || done == nullptr) PyErr_WriteUnraisable(future);
  Py_XDECREF(done);
  Py_XDECREF(answer);
  Py_DECREF(future);
}

void Answer(LoopCalls& loop_calls, Call& call) {
  Status why;
  PyObject* answer = nullptr;
  // Without a waiter the answer is for nobody.
  if (call.waiter != nullptr) {
    answer = Guarded(answer, [&] { return TakeAnswer(call, &why); });
  }
  Tell(loop_calls, call, answer, why);
}

void AnswerAll(LoopCalls& loop_calls, bool signalled) {
  for (Call* call = loop_calls.queue->Drain(signalled); call != nullptr;) {
    Call* const next = call->next_in_queue;
    Unlink(loop_calls, call);
    Answer(loop_calls, *call);
    DropWithGil(CallPtr(call));
    DropWithGil(CallPtr(call));  // Python's share, and the scheduler's, which came with the queue.
    call = next;
  }
}

// Nobody waits for it any longer. What has ended already comes out of the queue anyway.
void GiveUp(LoopCalls& loop_calls, Call* call) {
  Py_CLEAR(call->waiter);
  if (!call->StopListening()) return;
  Unlink(loop_calls, call);
  CallPtr owned(call);
  owned->Cancel();
  DropWithGil(std::move(owned));
}

// The loop was closed while calls waited: it calls nothing any more.
void Abandon(LoopCalls& loop_calls) {
  // What is dropped below may run Python code, and so other threads, which find none of this.
  std::erase(All().active, &loop_calls);
  PyObject* const loop = std::exchange(loop_calls.loop, nullptr);
  while (Call* const call = loop_calls.pending) {
    Unlink(loop_calls, call);
    (void)call->StopListening();
    CallPtr owned(call);
    owned->Cancel();
    DropWithGil(std::move(owned));
  }
  Py_CLEAR(loop_calls.timer);
  Py_DECREF(loop);
  loop_calls.timer_ns = kNever;
  loop_calls.iteration_is_scheduled = false;
  loop_calls.is_watching = false;
  loop_calls.submitted.clear();
  // What had ended is still on its way into the old queue, which dies with the last of it.
  Result<EventFd> event_fd = EventFd::Create();
  if (!event_fd.ok()) return;  // No descriptor is left: this one is not used again.
  loop_calls.queue = std::make_shared<LoopQueue>(*std::move(event_fd));
  BecomeIdle(loop_calls);
}

// ------------------------------------------------------------------------------------------------
// What the loop calls.

LoopCalls& Of(PyObject* capsule) {
  return *static_cast<LoopCalls*>(PyCapsule_GetPointer(capsule, nullptr));
}

PyObject* EndIteration(PyObject* capsule, PyObject*) {
  LoopCalls& loop_calls = Of(capsule);
  loop_calls.iteration_is_scheduled = false;
  std::vector<ServableHandle> submitted;
  submitted.swap(loop_calls.submitted);
  GilPause pause;
  {
    const LoopQueue::LoopScope scope(*loop_calls.queue);
    Nanos budget = kIterationBudget;
    for (const ServableHandle& servable : submitted) {
      budget -= std::min(budget, servable->RunHere(budget));
    }
  }
  pause.Resume();
  AnswerAll(loop_calls, /*signalled=*/false);
  Update(loop_calls);
  submitted.clear();
  if (loop_calls.submitted.empty()) submitted.swap(loop_calls.submitted);  // For its capacity.
  RunDeferred();
  Py_RETURN_NONE;
}

PyObject* Drain(PyObject* capsule, PyObject*) {
  LoopCalls& loop_calls = Of(capsule);
  AnswerAll(loop_calls, /*signalled=*/true);
  Update(loop_calls);
  RunDeferred();
  Py_RETURN_NONE;
}

// Ends the late among those that wait, and gives up the late among those that run.
PyObject* CheckDeadlines(PyObject* capsule, PyObject*) {
  LoopCalls& loop_calls = Of(capsule);
  Py_CLEAR(loop_calls.timer);
  loop_calls.timer_ns = kNever;
  const Nanos now = NowNanos();
  std::vector<ServableHandle> servables;
  for (Call* call = loop_calls.pending; call != nullptr; call = call->next_pending) {
    if (call->request.deadline_ns >= now) continue;
    if (std::ranges::find(servables, call->servable) == servables.end()) {
      servables.push_back(call->servable);
    }
  }
  {
    const LoopQueue::LoopScope scope(*loop_calls.queue);
    for (const ServableHandle& servable : servables) servable->Sweep();
  }
  AnswerAll(loop_calls, /*signalled=*/false);
  loop_calls.first_deadline_ns = kNever;
  for (Call* call = loop_calls.pending; call != nullptr;) {
    Call* const next = call->next_pending;
    if (call->request.deadline_ns < now) {
      Tell(loop_calls, *call, nullptr, RunsLate(*call));
      GiveUp(loop_calls, call);
    } else {
      loop_calls.first_deadline_ns =
          std::min(loop_calls.first_deadline_ns, call->request.deadline_ns);
    }
    call = next;
  }
  Update(loop_calls);
  Py_RETURN_NONE;
}

// Set on each future, for the sake of those that are cancelled.
PyObject* OnFutureDone(PyObject* capsule, PyObject* future) {
  LoopCalls& loop_calls = Of(capsule);
  PyObject* const cancelled = CallMethod(future, LoopMethods::Get().cancelled);
  if (cancelled == nullptr) return nullptr;
  Py_DECREF(cancelled);
  if (cancelled != Py_True) Py_RETURN_NONE;
  for (Call* call = loop_calls.pending; call != nullptr; call = call->next_pending) {
    if (call->waiter != future) continue;
    GiveUp(loop_calls, call);
    Update(loop_calls);
    break;
  }
  Py_RETURN_NONE;
}

PyMethodDef end_iteration_def = {"end_iteration", &EndIteration, METH_NOARGS, nullptr};
PyMethodDef drain_def = {"drain", &Drain, METH_NOARGS, nullptr};
PyMethodDef check_deadlines_def = {"check_deadlines", &CheckDeadlines, METH_NOARGS, nullptr};
PyMethodDef on_future_done_def = {"on_future_done", &OnFutureDone, METH_O, nullptr};

// ------------------------------------------------------------------------------------------------

Result<LoopCalls*> NewLoopCalls() {
  Result<EventFd> event_fd = EventFd::Create();
  if (!event_fd.ok()) return event_fd.status();
  auto owned = std::make_unique<LoopCalls>();
  owned->queue = std::make_shared<LoopQueue>(*std::move(event_fd));
  const auto capsule =
      py::reinterpret_steal<py::object>(PyCapsule_New(owned.get(), nullptr, nullptr));
  if (!capsule) return PythonsError();
  owned->end_iteration = PyCFunction_New(&end_iteration_def, capsule.ptr());
  owned->drain = PyCFunction_New(&drain_def, capsule.ptr());
  owned->check_deadlines = PyCFunction_New(&check_deadlines_def, capsule.ptr());
  owned->on_future_done = PyCFunction_New(&on_future_done_def, capsule.ptr());
  if (PyErr_Occurred() != nullptr) return PythonsError();
  return owned.release();
}

// Those whose loop was closed with calls of ours: their owners will not come back.
void AbandonClosed(AllLoopCalls& all) {
  // Asking runs Python code, and so other threads: those that are there now may go meanwhile.
  const std::vector<LoopCalls*> asked = all.active;
  for (LoopCalls* const candidate : asked) {
    LoopCalls& loop_calls = *candidate;
    if (loop_calls.loop == nullptr) continue;
    PyObject* const loop = Py_NewRef(loop_calls.loop);
    PyObject* const closed = CallMethod(loop, LoopMethods::Get().is_closed);
    if (closed == nullptr) PyErr_Clear();
    Py_XDECREF(closed);
    if (closed == Py_True && loop_calls.loop == loop) Abandon(loop_calls);
    Py_DECREF(loop);
  }
}

Result<LoopCalls*> ActiveFor(PyObject* loop) {
  AllLoopCalls& all = All();
  for (LoopCalls* loop_calls : all.active) {
    if (loop_calls->loop == loop) return loop_calls;
  }
  AbandonClosed(all);
  if (all.idle.empty()) {
    const Result<LoopCalls*> made = NewLoopCalls();
    if (!made.ok()) return made;
    all.idle.push_back(*made);
  }
  LoopCalls* const loop_calls = all.idle.back();
  all.idle.pop_back();
  all.active.push_back(loop_calls);
  loop_calls->loop = Py_NewRef(loop);
  return loop_calls;
}

// Registers the future and the end of the iteration; false with an exception set.
bool Schedule(LoopCalls& loop_calls, PyObject* future) {
  const LoopMethods& methods = LoopMethods::Get();
  if (!Ok(CallMethod(future, methods.add_done_callback, loop_calls.on_future_done))) return false;
  if (loop_calls.iteration_is_scheduled) return true;
  if (!Ok(CallMethod(loop_calls.loop, methods.call_soon, loop_calls.end_iteration))) return false;
  loop_calls.iteration_is_scheduled = true;
  return true;
}

}  // namespace

PyObject* SubmitForLoop(CallPtr call) {
  PyObject* const loop = LoopMethods::RunningLoop();
  if (loop == nullptr) return nullptr;
  const Result<LoopCalls*> found = ActiveFor(loop);
  Py_DECREF(loop);  // Active: held.
  if (!found.ok()) return Raise(AsCaller(call->caller)->error, found.status());
  LoopCalls& loop_calls = **found;
  PyObject* const future = CallMethod(loop_calls.loop, LoopMethods::Get().create_future);
  if (future == nullptr || !Schedule(loop_calls, future)) {
    Py_XDECREF(future);
    Update(loop_calls);
    return nullptr;
  }
  call->waiter = Py_NewRef(future);
  call->queue = loop_calls.queue;
  (void)call->Listen(Call::Listener::kLoop);  // It was not submitted: it cannot have ended.
  std::vector<ServableHandle>& submitted = loop_calls.submitted;
  if (std::ranges::find(submitted, call->servable) == submitted.end()) {
    submitted.push_back(call->servable);
  }
  Call* const pending = call.release();
  Link(loop_calls, pending);
  const LoopQueue::LoopScope scope(*loop_calls.queue);  // A full queue ends it at once.
  pending->Submit();
  return future;
}

}  // namespace fastserve::bind
