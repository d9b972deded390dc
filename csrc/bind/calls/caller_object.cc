#include "bind/calls/caller_object.h"

#include <unistd.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "base/fork.h"
#include "bind/arrays/raising.h"
#include "bind/calls/answer.h"
#include "bind/calls/future_object.h"
#include "bind/calls/loop_calls.h"
#include "bind/calls/preparation.h"
#include "bind/calls/waiting.h"
#include "bind/errors.h"
#include "bind/register.h"

namespace py = pybind11;

namespace fastserve::bind {
namespace {

PyObject* core_error = nullptr;  // What is raised unless another type is given.
PyTypeObject* caller_type = nullptr;

// Appends the name; false with an exception set.
bool AddName(const TensorSpec& spec, std::vector<PyObject*>* names) {
  PyObject* name =
      PyUnicode_DecodeUTF8(spec.name.data(), static_cast<Py_ssize_t>(spec.name.size()), "replace");
  if (name == nullptr) return false;
  PyUnicode_InternInPlace(&name);
  names->push_back(name);
  return true;
}

// Null with an exception set.
std::shared_ptr<const TensorNames> NamesOf(const ServableHandle& servable) {
  auto made = std::make_shared<TensorNames>();
  made->servable = servable;
  for (const TensorSpec& spec : servable->inputs()) {
    if (!AddName(spec, &made->inputs)) return nullptr;
  }
  for (const ServedOutput& output : servable->outputs()) {
    if (!AddName(output.spec, &made->outputs)) return nullptr;
  }
  return made;
}

// The same control block: while the names have it, its address is not given out again.
bool IsOf(const TensorNames* names, const ServableHandle& servable) {
  return names != nullptr && !names->servable.owner_before(servable) &&
         !servable.owner_before(names->servable);
}

Status NotServed(const CallerState& state) {
  if (state.version.empty()) return NotFound("no model '", state.name, "' is served");
  return NotFound("version ", state.version, " of model '", state.name, "' is not served");
}

// ------------------------------------------------------------------------------------------------
// Methods.

PyObject* Infer(PyObject* self, PyObject* const* values, Py_ssize_t count, PyObject* keywords) {
  CallerObject* const caller = TargetOf(self);
  CallPtr call = PrepareCall(caller, "infer",
                             {values, PyVectorcall_NARGS(static_cast<size_t>(count)), keywords});
  if (call == nullptr) return nullptr;
  call->Submit();
  const Waited waited = WaitFor(*call, kNever, /*may_run=*/true);
  Status why;
  PyObject* answer = nullptr;
  if (waited == Waited::kEnded) {
    answer = Guarded(answer, [&] { return TakeAnswer(*call, &why); });
  } else {
    call->Cancel();
    why = waited == Waited::kInterrupted ? PythonsError() : RunsLate(*call);
  }
  DropWithGil(std::move(call));
  return answer == nullptr ? Raise(caller->error, why) : answer;
}

PyObject* Submit(PyObject* self, PyObject* const* values, Py_ssize_t count, PyObject* keywords) {
  CallPtr call = PrepareCall(TargetOf(self), "submit",
                             {values, PyVectorcall_NARGS(static_cast<size_t>(count)), keywords});
  if (call == nullptr) return nullptr;
  return SubmitForFuture(std::move(call));
}

PyObject* AsyncInfer(PyObject* self, PyObject* const* values, Py_ssize_t count,
                     PyObject* keywords) {
  CallPtr call = PrepareCall(TargetOf(self), "ainfer",
                             {values, PyVectorcall_NARGS(static_cast<size_t>(count)), keywords});
  if (call == nullptr) return nullptr;
  return SubmitForLoop(std::move(call));
}

// `caller`, and every one made of it, refuses calls from now on.
void EndCalls(const py::object& caller, std::string_view code, std::string message) {
  if (PyObject_TypeCheck(caller.ptr(), caller_type) == 0) throw py::type_error("not a Caller");
  CallerState* const state = TargetOf(caller.ptr())->state;
  if (state == nullptr) throw std::runtime_error("the Caller was not initialised");
  for (auto number = Code::kCancelled; number <= Code::kUnauthenticated;
       number = static_cast<Code>(static_cast<int>(number) + 1)) {
    if (CodeName(number) != code) continue;
    state->end = Status(number, std::move(message));
    return;
  }
  throw py::value_error(StrCat("'", code, "' is no code"));
}

// ------------------------------------------------------------------------------------------------
// The type.

PyObject* New(PyTypeObject* type, PyObject*, PyObject*) {
  PyObject* const self = type->tp_alloc(type, 0);
  if (self != nullptr) AsCaller(self)->error = Py_NewRef(core_error);
  return self;
}

int InitAsOneOf(PyObject* other, CallerObject* caller) {
  CallerObject* const target = TargetOf(other);
  if (target->state == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "the Caller was not initialised");
    return -1;
  }
  caller->target = Py_NewRef(reinterpret_cast<PyObject*>(target));
  Py_SETREF(caller->error, Py_NewRef(target->error));
  return 0;
}

int Init(PyObject* self, PyObject* arguments, PyObject* keywords) {
  static const char* names[] = {"serving_map", "name", "version", "error", nullptr};
  PyObject* map = nullptr;
  const char* name = nullptr;  // Needed with a ServingMap.
  const char* version = "";
  PyObject* error = core_error;
  if (PyArg_ParseTupleAndKeywords(arguments, keywords, "O|ss$O", const_cast<char**>(names), &map,
                                  &name, &version, &error) == 0) {
    return -1;
  }
  CallerObject* const caller = AsCaller(self);
  if (caller->state != nullptr || caller->target != nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "a Caller is initialised once");
    return -1;
  }
  if (PyObject_TypeCheck(map, caller_type) != 0) return InitAsOneOf(map, caller);
  if (name == nullptr) {
    PyErr_SetString(PyExc_TypeError, "Caller misses its argument 'name'");
    return -1;
  }
  return Guarded(-1, [&] {
    std::unique_ptr<CallerState> state = std::make_unique<CallerState>();
    try {
      state->serving_map = py::cast<std::shared_ptr<ServingMap>>(py::handle(map));
    } catch (const py::cast_error&) {
      PyErr_SetString(PyExc_TypeError, "Caller takes a ServingMap");
      return -1;
    }
    state->name = name;
    state->version = version;
    state->fork_generation = ForkGeneration();
    caller->state = state.release();
    Py_SETREF(caller->error, Py_NewRef(error));
    return 0;
  });
}

int Traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(AsCaller(self)->error);
  Py_VISIT(AsCaller(self)->target);
  return 0;
}

int Clear(PyObject* self) {
  Py_CLEAR(AsCaller(self)->error);
  Py_CLEAR(AsCaller(self)->target);
  return 0;
}

void Dealloc(PyObject* self) {
  PyObject_GC_UnTrack(self);
  PyTypeObject* const type = Py_TYPE(self);
  CallerObject* const caller = AsCaller(self);
  Clear(self);
  delete caller->state;
  type->tp_free(self);
  Py_DECREF(type);
}

// What help(fastserve.Model.infer) shows.
constexpr const char* kInferDoc = R"(infer($self, inputs, outputs=None, *, timeout=None)
--

Run the model and wait; other Python threads run meanwhile.

`inputs` are arrays by name, or the only input by itself; `outputs` are the names of those
to answer with, all of them if it is left out. Arrays are numpy's, or anything that DLPack
or the buffer protocol describes: in C order they are read where they lie, so leave them
alone until the answer is there. Lists and numbers are converted to the model's type; an
array of another type is refused. Arrays of the answer lie in the engine's memory, and may
be read-only where they are an input's own.

Shapes:  each input as `inputs` describes it, each output as `outputs` does.
Units:   `timeout` is seconds, until it runs: a run is not interrupted.
Errors:  INVALID_ARGUMENT names the tensor, what was expected and what came;
         RESOURCE_EXHAUSTED: the queue is full; DEADLINE_EXCEEDED: the time was up before
         it ran, UNAVAILABLE: it would have been, or the server closed; NOT_FOUND,
         FAILED_PRECONDITION: the model was unloaded, the server closed before the call;
         INTERNAL: the engine failed.
Threads: any. In a coroutine it holds the event loop up: there, await ainfer().)";
constexpr const char* kSubmitDoc = R"(submit($self, inputs, outputs=None, *, timeout=None)
--

As infer(), without waiting for the answer: those submitted at once may share a batch.)";
constexpr const char* kAsyncInferDoc = R"(ainfer($self, inputs, outputs=None, *, timeout=None)
--

As infer(), to be awaited on the running event loop, asyncio's own or uvloop.

It is submitted at once, whether it is awaited or not; what is wrong with the inputs is
raised by the call itself. Cancelling it cancels the request if it has not begun to run.)";

template <typename Function>
PyCFunction AsMethod(Function function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function));
}

PyMethodDef methods[] = {
    {"infer", AsMethod(&Infer), METH_FASTCALL | METH_KEYWORDS, kInferDoc},
    {"submit", AsMethod(&Submit), METH_FASTCALL | METH_KEYWORDS, kSubmitDoc},
    {"ainfer", AsMethod(&AsyncInfer), METH_FASTCALL | METH_KEYWORDS, kAsyncInferDoc},
    {nullptr, nullptr, 0, nullptr},
};
PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(&New)},
    {Py_tp_init, reinterpret_cast<void*>(&Init)},
    {Py_tp_dealloc, reinterpret_cast<void*>(&Dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(&Traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(&Clear)},
    {Py_tp_methods, methods},
    {Py_tp_doc, const_cast<char*>("Requests to one model from Python of the same process.")},
    {0, nullptr},
};
PyType_Spec spec = {
    .name = "fastserve._core.Caller",
    .basicsize = sizeof(CallerObject),
    .itemsize = 0,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

}  // namespace

TensorNames::~TensorNames() {
  for (PyObject* name : inputs) Py_DECREF(name);
  for (PyObject* name : outputs) Py_DECREF(name);
}

Status FindModel(CallerState& state, Call& call) {
  const uint64_t changes = state.serving_map->changes();
  if (state.names != nullptr && state.changes == changes) [[likely]] {
    call.servable = state.names->servable.lock();
    call.names = state.names;
    if (call.servable != nullptr) return {};
  }
  call.servable = state.serving_map->Find(state.name, state.version);
  if (call.servable == nullptr) return NotServed(state);
  if (!IsOf(state.names.get(), call.servable)) {
    std::shared_ptr<const TensorNames> names = NamesOf(call.servable);
    if (names == nullptr) return PythonsError();
    state.names = std::move(names);
  }
  state.changes = changes;
  call.names = state.names;
  return {};
}

bool RaiseIfForked(CallerObject* caller) {
  if (caller->state == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "the Caller was not initialised");
    return true;
  }
  if (!ForkedSince(caller->state->fork_generation)) [[likely]]
    return false;
  Raise(caller->error,
        FailedPrecondition("model '", caller->state->name, "' stayed in the process that this one ",
                           "(", getpid(), ") was forked from: make the Server in the child, or ",
                           "start processes with multiprocessing's \"spawn\""));
  return true;
}

void RegisterCalls(py::module_& module) {
  RegisterDeferred(module);
  core_error = py::object(module.attr("CoreError")).release().ptr();
  const auto type = py::reinterpret_steal<py::object>(PyType_FromSpec(&spec));
  if (!type) throw py::error_already_set();
  caller_type = reinterpret_cast<PyTypeObject*>(type.ptr());
  module.add_object("Caller", type);
  module.def("end_calls", &EndCalls, py::arg("caller"), py::arg("code"), py::arg("message"));
  RegisterFuture(module);
}

}  // namespace fastserve::bind
