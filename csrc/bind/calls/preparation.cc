#include "bind/calls/preparation.h"

#include <array>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bind/arrays/input_reader.h"
#include "bind/arrays/numpy_arrays.h"
#include "bind/arrays/raising.h"
#include "bind/errors.h"

namespace fastserve::bind {
namespace {

// ------------------------------------------------------------------------------------------------
// Arguments.

struct CallArguments {
  PyObject* inputs = nullptr;  // All are borrowed.
  PyObject* outputs = nullptr;
  PyObject* timeout = nullptr;
};

struct KeywordNames {
  PyObject* inputs = PyUnicode_InternFromString("inputs");
  PyObject* outputs = PyUnicode_InternFromString("outputs");
  PyObject* timeout = PyUnicode_InternFromString("timeout");
};

bool IsName(PyObject* keyword, PyObject* name) {
  // Names in source code are interned; others are compared.
  return keyword == name || PyUnicode_Compare(keyword, name) == 0;
}

bool ReadKeyword(const char* method, PyObject* keyword, PyObject* value, CallArguments* read) {
  static const KeywordNames names;
  PyObject** target = nullptr;
  if (IsName(keyword, names.inputs)) target = &read->inputs;
  if (IsName(keyword, names.outputs)) target = &read->outputs;
  if (IsName(keyword, names.timeout)) target = &read->timeout;
  if (target == nullptr) {
    PyErr_Format(PyExc_TypeError,
                 "%s() got an unexpected keyword argument '%U', expected inputs, outputs, timeout",
                 method, keyword);
    return false;
  }
  if (*target != nullptr) {
    PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'", method, keyword);
    return false;
  }
  *target = value;
  return true;
}

bool ReadArguments(const char* method, const PassedArguments& passed, CallArguments* read) {
  if (passed.positional > 2) {
    PyErr_Format(PyExc_TypeError, "%s() takes inputs and outputs, but %zd arguments were given",
                 method, passed.positional);
    return false;
  }
  if (passed.positional > 0) read->inputs = passed.values[0];
  if (passed.positional > 1) read->outputs = passed.values[1];
  const Py_ssize_t named = passed.keywords == nullptr ? 0 : PyTuple_GET_SIZE(passed.keywords);
  for (Py_ssize_t i = 0; i < named; ++i) {
    if (!ReadKeyword(method, PyTuple_GET_ITEM(passed.keywords, i),
                     passed.values[passed.positional + i], read)) {
      return false;
    }
  }
  if (read->inputs != nullptr) return true;
  PyErr_Format(PyExc_TypeError, "%s() misses its argument 'inputs'", method);
  return false;
}

// ------------------------------------------------------------------------------------------------
// Inputs.

// Names and values in turns, owned: reading one value may run code that changes the mapping.
class Items {
 public:
  Items() = default;
  Items(const Items&) = delete;
  Items& operator=(const Items&) = delete;
  ~Items() {
    for (size_t i = 0; i < size_; ++i) Py_DECREF(data()[i]);
  }

  void Add(PyObject* name, PyObject* value) {
    if (size_ == few_.size()) many_.assign(few_.begin(), few_.end());
    if (size_ >= few_.size()) {
      many_.insert(many_.end(), {name, value});
    } else {
      few_[size_] = name;
      few_[size_ + 1] = value;
    }
    Py_INCREF(name);
    Py_INCREF(value);
    size_ += 2;
  }
  size_t size() const { return size_ / 2; }
  PyObject* name(size_t i) { return data()[2 * i]; }
  PyObject* value(size_t i) { return data()[2 * i + 1]; }

 private:
  PyObject** data() { return size_ > few_.size() ? many_.data() : few_.data(); }

  std::array<PyObject*, 16> few_;
  std::vector<PyObject*> many_;
  size_t size_ = 0;
};

// -1 with an exception set.
int IsMapping(const Numpy& numpy, PyObject* inputs) {
  if (PyDict_Check(inputs)) return 1;
  if (numpy.IsArray(inputs) || PyMapping_Check(inputs) == 0 || PyList_Check(inputs)) return 0;
  static PyObject* const mapping = [] {
    PyObject* const module = PyImport_ImportModule("collections.abc");
    PyObject* const found = module == nullptr ? nullptr : PyObject_GetAttrString(module, "Mapping");
    Py_XDECREF(module);
    return found;
  }();
  return mapping == nullptr ? -1 : PyObject_IsInstance(inputs, mapping);
}

bool AddItems(PyObject* mapping, Items* items) {
  if (PyDict_CheckExact(mapping)) {
    Py_ssize_t position = 0;
    PyObject* name = nullptr;
    PyObject* value = nullptr;
    while (PyDict_Next(mapping, &position, &name, &value) != 0) items->Add(name, value);
    return true;
  }
  PyObject* const list = PyMapping_Items(mapping);
  if (list == nullptr) return false;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); ++i) {
    PyObject* const pair = PyList_GET_ITEM(list, i);
    if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2) continue;
    items->Add(PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1));
  }
  Py_DECREF(list);
  return true;
}

// A single value is the model's only input.
Status AddOnly(const TensorNames& names, const Servable& servable, PyObject* value, Items* items) {
  const size_t count = servable.inputs().size();
  if (count == 1) {
    items->Add(names.inputs[0], value);
    return {};
  }
  std::string shown;
  for (const TensorSpec& spec : servable.inputs()) {
    shown += (shown.empty() ? "'" : ", '") + spec.name + "': ...";
  }
  return InvalidArgument("model '", servable.name(), "' has ", count,
                         " inputs: give them by name, as {", shown, "}");
}

// The number of the input of that name, most likely `guess`; their count if there is none.
size_t FindInput(const TensorNames& names, const Servable& servable, PyObject* name,
                 std::string_view text, size_t guess) {
  if (guess < names.inputs.size() && names.inputs[guess] == name) return guess;
  const std::span<const TensorSpec> specs = servable.inputs();
  size_t index = 0;
  while (index < specs.size() && specs[index].name != text) ++index;
  return index;
}

Status ReadInputs(const Numpy& numpy, const TensorNames& names, Call& call, Items& items) {
  const Servable& servable = *call.servable;
  call.named.resize(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    PyObject* const name = items.name(i);
    Py_ssize_t size = 0;
    const char* const text = PyUnicode_Check(name) ? PyUnicode_AsUTF8AndSize(name, &size) : nullptr;
    if (text == nullptr) {
      if (PyErr_Occurred() == nullptr) {
        PyErr_Format(PyExc_TypeError, "names of inputs are str, not %s", Py_TYPE(name)->tp_name);
      }
      return PythonsError();
    }
    NamedInput& input = call.named[i];
    input.name = {text, static_cast<size_t>(size)};
    const size_t index = FindInput(names, servable, name, input.name, i);
    // An unknown one is Bind's to refuse, whatever its value.
    if (index == servable.inputs().size()) continue;
    FS_RETURN_IF_ERROR(ReadInput(numpy, items.value(i), servable.inputs()[index], &input));
  }
  return {};
}

// Reads and binds. The names that Bind sees belong to `items`.
Status BindInputs(Call& call, PyObject* inputs) {
  const Numpy* const numpy = Numpy::Get();
  if (numpy == nullptr) return PythonsError();
  const TensorNames& names = *call.names;
  Items items;
  const int is_mapping = IsMapping(*numpy, inputs);
  if (is_mapping < 0) return PythonsError();
  if (is_mapping == 0) {
    FS_RETURN_IF_ERROR(AddOnly(names, *call.servable, inputs, &items));
  } else if (!AddItems(inputs, &items)) {
    return PythonsError();
  }
  FS_RETURN_IF_ERROR(ReadInputs(*numpy, names, call, items));
  Status status = call.servable->Bind(call.named, &call.request);
  const GilHeld held;
  call.named.clear();
  return status;
}

// ------------------------------------------------------------------------------------------------
// Outputs, time, model.

Status ReadWanted(PyObject* outputs, Call& call) {
  if (outputs == nullptr || outputs == Py_None) return {};
  if (PyUnicode_Check(outputs)) {
    PyErr_Format(PyExc_TypeError, "outputs is the str '%U', expected a list of names: ['%U']",
                 outputs, outputs);
    return PythonsError();
  }
  PyObject* const names = PySequence_Fast(outputs, "outputs is no sequence of names");
  if (names == nullptr) return PythonsError();
  Status status;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(names) && status.ok(); ++i) {
    PyObject* const name = PySequence_Fast_GET_ITEM(names, i);
    const char* const text = PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : nullptr;
    if (text == nullptr) {
      if (PyErr_Occurred() == nullptr) {
        PyErr_Format(PyExc_TypeError, "names of outputs are str, not %s", Py_TYPE(name)->tp_name);
      }
      status = PythonsError();
      break;
    }
    const Result<size_t> index = call.servable->FindOutput(text);
    status = index.status();
    if (index.ok()) call.wanted.push_back(static_cast<uint32_t>(*index));
  }
  if (status.ok() && PySequence_Fast_GET_SIZE(names) == 0) {
    PyErr_SetString(PyExc_ValueError, "outputs is empty: leave it out to get all of them");
    status = PythonsError();
  }
  Py_DECREF(names);
  return status;
}

Status Fill(CallerObject* caller, const CallArguments& arguments, Call& call) {
  FS_RETURN_IF_ERROR(FindModel(*caller->state, call));
  Status status = BindInputs(call, arguments.inputs);
  if (status.ok()) status = ReadWanted(arguments.outputs, call);
  if (!status.ok()) call.servable->stats().CountFailure(FailureReason::kInvalid);
  return status;
}

}  // namespace

bool ReadTimeout(PyObject* timeout, Nanos now, Nanos* until_ns) {
  *until_ns = kNever;
  if (timeout == nullptr || timeout == Py_None) return true;
  const double seconds = PyFloat_AsDouble(timeout);
  if (seconds == -1 && PyErr_Occurred() != nullptr) return false;
  if (std::isnan(seconds) || seconds < 0) {
    PyErr_Format(PyExc_ValueError, "timeout is %R, expected seconds, at least 0", timeout);
    return false;
  }
  constexpr double kLongestSeconds = 1e9;  // Thirty years: for ever.
  if (seconds < kLongestSeconds) {
    *until_ns = now + static_cast<Nanos>(seconds * static_cast<double>(kSecond));
  }
  return true;
}

CallPtr PrepareCall(CallerObject* caller, const char* method, const PassedArguments& passed) {
  RunDeferred();
  CallArguments arguments;
  if (!ReadArguments(method, passed, &arguments) || RaiseIfForked(caller)) return nullptr;
  if (!caller->state->end.ok()) [[unlikely]] {
    Raise(caller->error, caller->state->end);
    return nullptr;
  }
  return Guarded<CallPtr>(nullptr, [&]() -> CallPtr {
    CallPtr call = Call::New();
    call->received_ns = NowNanos();
    call->caller = Py_NewRef(reinterpret_cast<PyObject*>(caller));
    if (!ReadTimeout(arguments.timeout, call->received_ns, &call->request.deadline_ns)) {
      return nullptr;
    }
    const Status status = Fill(caller, arguments, *call);
    if (status.ok()) {
      call->request.submitted_ns = NowNanos();
      return call;
    }
    Raise(caller->error, status);
    DropWithGil(std::move(call));
    return nullptr;
  });
}

}  // namespace fastserve::bind
