#include "bind/event_loop_gateway.h"

#include <algorithm>
#include <exception>
#include <memory>
#include <utility>

#include "bind/buffer_object.h"
#include "bind/errors.h"

namespace py = pybind11;

namespace fastserve::bind {
namespace {

constexpr const char* kSelf = "fastserve.gateway";

// The loop may keep a call that it has not made yet for longer than the gateway lives.
PyObject* CallEndIteration(PyObject* capsule, PyObject*) {
  auto** const self = static_cast<EventLoopGateway**>(PyCapsule_GetPointer(capsule, kSelf));
  return Guarded(static_cast<PyObject*>(nullptr), [&] {
    if (*self != nullptr) (*self)->EndIteration();
    return Py_NewRef(Py_None);
  });
}

PyMethodDef end_iteration_def = {"end_iteration", &CallEndIteration, METH_NOARGS, nullptr};

PyObject* CallWakeUp(PyObject* capsule, PyObject*) {
  auto** const self = static_cast<EventLoopGateway**>(PyCapsule_GetPointer(capsule, kSelf));
  return Guarded(static_cast<PyObject*>(nullptr), [&] {
    if (*self != nullptr) (*self)->WakeUp();
    return Py_NewRef(Py_None);
  });
}

PyMethodDef wake_up_def = {"wake_up", &CallWakeUp, METH_NOARGS, nullptr};

void DeleteSelf(PyObject* capsule) {
  delete static_cast<EventLoopGateway**>(PyCapsule_GetPointer(capsule, kSelf));
}

constexpr const char* kDropped = "fastserve.dropped_request";

// On the loop's thread: a request that was dropped on another one is dropped, and so answered.
PyObject* CallDrop(PyObject* capsule, PyObject*) {
  static_cast<std::shared_ptr<ControlRequest>*>(PyCapsule_GetPointer(capsule, kDropped))->reset();
  Py_RETURN_NONE;
}

PyMethodDef drop_def = {"drop", &CallDrop, METH_NOARGS, nullptr};

void DeleteDropped(PyObject* capsule) {
  auto* const dropped =
      static_cast<std::shared_ptr<ControlRequest>*>(PyCapsule_GetPointer(capsule, kDropped));
  // Whom the loop did not call any more, because it is closed, nobody can answer: it is kept.
  const ControlRequest* const request = dropped->get();
  if (request != nullptr && !request->answered && !request->is_on_its_thread()) return;
  delete dropped;
}

// A loop that is closed calls nobody any more, which is no failure of anybody's; what else went
// wrong is shown. False.
bool CouldNotCall(const py::object& call) {
  if (PyErr_ExceptionMatches(PyExc_RuntimeError)) {
    PyErr_Clear();
  } else {
    PyErr_WriteUnraisable(call.ptr());
  }
  return false;
}

py::object NewReference(PyObject* object) {
  if (object == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(object);
}

// What Python's reference to a control request does when it goes. The collector may let it go on
// any thread; dropping a request answers it, which is for the loop's.
struct DropOnLoop {
  std::shared_ptr<ControlRequest> request;
  py::object call_soon_threadsafe;

  void operator()(ControlRequest*) {
    if (request->answered || request->is_on_its_thread()) return request.reset();
    try {
      auto owned = std::make_unique<std::shared_ptr<ControlRequest>>(std::move(request));
      const py::object capsule = NewReference(PyCapsule_New(owned.get(), kDropped, &DeleteDropped));
      static_cast<void>(owned.release());
      call_soon_threadsafe(NewReference(PyCFunction_New(&drop_def, capsule.ptr())));
    } catch (py::error_already_set& error) {
      error.discard_as_unraisable("dropping a request");  // The loop is closed.
    }
  }
};

}  // namespace

EventLoopGateway::EventLoopGateway(std::shared_ptr<ServingMap> serving_map, py::object loop,
                                   py::object on_control, const GatewayOptions& options)
    : on_control_(std::move(on_control)),
      call_soon_(loop.attr("call_soon")),
      call_soon_threadsafe_(loop.attr("call_soon_threadsafe")),
      call_later_(loop.attr("call_later")),
      timer_(py::none()),
      core_(Take(Gateway::Create(std::move(serving_map), *this, options))) {
  auto self = std::make_unique<EventLoopGateway*>(this);
  const py::object capsule = NewReference(PyCapsule_New(self.get(), kSelf, &DeleteSelf));
  self_ = self.release();
  end_iteration_ = NewReference(PyCFunction_New(&end_iteration_def, capsule.ptr()));
  wake_up_ = NewReference(PyCFunction_New(&wake_up_def, capsule.ptr()));
  const py::object shared =
      NewReference(NewBufferObject(core_->shared_buffer(), core_->shared_buffer_owner(), false));
  shared_view_ = NewReference(PyMemoryView_FromObject(shared.ptr()));
}

EventLoopGateway::~EventLoopGateway() {
  CancelTimer();
  *self_ = nullptr;
}

void EventLoopGateway::EndIteration() {
  // Without the GIL, or in what an answer runs, the last reference to this may go.
  const std::shared_ptr<Gateway> core = core_;
  {
    const py::gil_scoped_release released;
    core->RunModels();
  }
  core->Drain(/*signalled=*/false);
}

void EventLoopGateway::WakeUp() {
  timer_ = py::none();
  const std::shared_ptr<Gateway> core = core_;  // As above.
  core->WakeUp(NowNanos());
}

bool EventLoopGateway::ScheduleIteration() {
  if (call_soon_.is_none()) return false;  // The collector has cleared this.
  PyObject* const handle = PyObject_CallOneArg(call_soon_.ptr(), end_iteration_.ptr());
  if (handle == nullptr) return CouldNotCall(call_soon_);
  Py_DECREF(handle);
  return true;
}

bool EventLoopGateway::ScheduleWakeUp(Nanos at) {
  if (call_later_.is_none()) return false;
  CancelTimer();
  // Whole milliseconds, at least one: uvloop rounds, and its clock stands still during an
  // iteration, so that a wake-up that comes too early must not ask for one at once.
  const Nanos ms = std::max<Nanos>((at - NowNanos() + kMillisecond - 1) / kMillisecond, 1);
  PyObject* const delay = PyFloat_FromDouble(static_cast<double>(ms) / 1e3);
  PyObject* const handle = delay == nullptr ? nullptr
                                            : PyObject_CallFunctionObjArgs(call_later_.ptr(), delay,
                                                                           wake_up_.ptr(), nullptr);
  Py_XDECREF(delay);
  if (handle == nullptr) return CouldNotCall(call_later_);
  timer_ = py::reinterpret_steal<py::object>(handle);
  return true;
}

void EventLoopGateway::CancelTimer() noexcept {
  if (timer_.is_none()) return;
  const py::object timer = std::exchange(timer_, py::none());
  PyObject* const result = PyObject_CallMethod(timer.ptr(), "cancel", nullptr);
  // A loop that is collected with this one may have no state left to do it with. A timer that fires
  // all the same finds nobody (see self_).
  if (result == nullptr) return PyErr_Clear();
  Py_DECREF(result);
}

void EventLoopGateway::OnControl(std::shared_ptr<ControlRequest> request) {
  try {
    ControlRequest* const named = request.get();
    on_control_(py::cast(std::shared_ptr<ControlRequest>(
        named, DropOnLoop{std::move(request), call_soon_threadsafe_})));
  } catch (py::error_already_set& error) {
    error.discard_as_unraisable(on_control_);  // The request, dropped, is answered with 500.
  } catch (const std::exception&) {
    // No memory for the object: dropped as well.
  }
}

int EventLoopGateway::Traverse(visitproc visit, void* arg) {
  Py_VISIT(on_control_.ptr());
  Py_VISIT(call_soon_.ptr());
  Py_VISIT(call_soon_threadsafe_.ptr());
  Py_VISIT(call_later_.ptr());
  Py_VISIT(timer_.ptr());
  return 0;
}

void EventLoopGateway::Clear() {
  on_control_ = py::none();
  call_soon_ = py::none();
  call_soon_threadsafe_ = py::none();
  call_later_ = py::none();
  CancelTimer();
}

}  // namespace fastserve::bind
