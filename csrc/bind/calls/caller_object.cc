#include "bind/calls/caller_object.h"

#include <unistd.h>

#include <new>
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

// Appends the name; false with an exception set.
bool AddName(const TensorSpec& spec, std::vector<PyObject*>* names) {
  PyObject* name =
      PyUnicode_DecodeUTF8(spec.name.data(), static_cast<Py_ssize_t>(spec.name.size()), "replace");
  if (name == nullptr) return false;
  PyUnicode_InternInPlace(&name);
  names->push_back(name);
  return true;
}

// ------------------------------------------------------------------------------------------------
// Methods.

PyObject* Infer(PyObject* self, PyObject* const* values, Py_ssize_t count, PyObject* keywords) {
  CallerObject* const caller = AsCaller(self);
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
  CallPtr call = PrepareCall(AsCaller(self), "submit",
                             {values, PyVectorcall_NARGS(static_cast<size_t>(count)), keywords});
  if (call == nullptr) return nullptr;
  return SubmitForFuture(std::move(call));
}

PyObject* AsyncInfer(PyObject* self, PyObject* const* values, Py_ssize_t count,
                     PyObject* keywords) {
  CallPtr call = PrepareCall(AsCaller(self), "ainfer",
                             {values, PyVectorcall_NARGS(static_cast<size_t>(count)), keywords});
  if (call == nullptr) return nullptr;
  return SubmitForLoop(std::move(call));
}

// ------------------------------------------------------------------------------------------------
// The type.

PyObject* New(PyTypeObject* type, PyObject*, PyObject*) {
  PyObject* const self = type->tp_alloc(type, 0);
  if (self != nullptr) AsCaller(self)->error = Py_NewRef(core_error);
  return self;
}

int Init(PyObject* self, PyObject* arguments, PyObject* keywords) {
  static const char* names[] = {"serving_map", "name", "version", "error", nullptr};
  PyObject* map = nullptr;
  const char* name = nullptr;
  const char* version = "";
  PyObject* error = core_error;
  if (PyArg_ParseTupleAndKeywords(arguments, keywords, "Os|s$O", const_cast<char**>(names), &map,
                                  &name, &version, &error) == 0) {
    return -1;
  }
  CallerObject* const caller = AsCaller(self);
  if (caller->state != nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "a Caller is initialised once");
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
  return 0;
}

int Clear(PyObject* self) {
  Py_CLEAR(AsCaller(self)->error);
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

constexpr const char* kInferDoc =
    "infer(inputs, outputs=None, *, timeout=None)\n--\n\n"
    "The model's answer as a dict of arrays; runs the model on this thread if it is idle.";
constexpr const char* kSubmitDoc =
    "submit(inputs, outputs=None, *, timeout=None)\n--\n\n"
    "A Future of the model's answer, at once.";
constexpr const char* kAsyncInferDoc =
    "ainfer(inputs, outputs=None, *, timeout=None)\n--\n\n"
    "An asyncio future of the model's answer; for the running loop.";

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

std::shared_ptr<const TensorNames> NamesOf(CallerObject* caller, const ServableHandle& servable) {
  std::shared_ptr<const TensorNames>& names = caller->state->names;
  // The same control block: while the names have it, its address is not given out again.
  const bool is_same = names != nullptr && !names->servable.owner_before(servable) &&
                       !servable.owner_before(names->servable);
  if (is_same) [[likely]]
    return names;
  const auto made = std::make_shared<TensorNames>();
  made->servable = servable;
  for (const TensorSpec& spec : servable->inputs()) {
    if (!AddName(spec, &made->inputs)) return nullptr;
  }
  for (const ServedOutput& output : servable->outputs()) {
    if (!AddName(output.spec, &made->outputs)) return nullptr;
  }
  names = made;
  return made;
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
  module.add_object("Caller", type);
  RegisterFuture(module);
}

}  // namespace fastserve::bind
