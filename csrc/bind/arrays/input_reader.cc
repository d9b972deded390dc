#include "bind/arrays/input_reader.h"

#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "bind/arrays/bytes_elements.h"
#include "bind/arrays/held_memory.h"
#include "bind/arrays/raising.h"
#include "tensor/dlpack.h"

namespace fastserve::bind {
namespace {

Status TooManyDimensions(const TensorSpec& spec, Py_ssize_t rank) {
  return InvalidArgument("input '", spec.name, "' has ", rank, " dimensions, expected at most ",
                         Shape::kMaxRank);
}

Status WrongDtype(const TensorSpec& spec, PyObject* dtype) {
  const std::string spelling = Numpy::SpellingOf(spec.type);
  return InvalidArgument("input '", spec.name, "' has dtype ", TextOf(dtype), ", expected ",
                         spelling.substr(spelling.find('.') + 1), " (", DataTypeName(spec.type),
                         "): x.astype(", spelling, ")");
}

bool HasDtypeOf(const Numpy& numpy, const TensorSpec& spec, PyObject* dtype) {
  const std::optional<DataType> type = numpy.TypeOf(*reinterpret_cast<DtypeFields*>(dtype));
  if (type == spec.type) return true;
  // The bits, as answers have them where ml_dtypes is not installed.
  return type == DataType::kUint16 && spec.type == DataType::kBf16;
}

// Takes over `value`, a plain array.
Status ViewArray(PyObject* value, const TensorSpec& spec, NamedInput* input) {
  const auto& array = *reinterpret_cast<const ArrayFields*>(value);
  const auto rank = static_cast<size_t>(array.rank);
  if (rank > Shape::kMaxRank) {
    Py_DECREF(value);
    return TooManyDimensions(spec, array.rank);
  }
  Tensor& tensor = input->tensor;
  tensor.type = spec.type;
  tensor.shape = Shape(std::span<const int64_t>(array.dims, rank));
  size_t bytes = ElementBytes(spec.type);  // The product fits: the array is in memory.
  for (size_t axis = 0; axis < rank; ++axis) bytes *= static_cast<size_t>(array.dims[axis]);
  tensor.bytes = {reinterpret_cast<const std::byte*>(array.data), bytes};
  input->owner = HoldObject(value, tensor.bytes);
  return {};
}

Status ReadArray(const Numpy& numpy, PyObject* value, const TensorSpec& spec, NamedInput* input) {
  const auto& array = *reinterpret_cast<const ArrayFields*>(value);
  if (!HasDtypeOf(numpy, spec, array.dtype)) return WrongDtype(spec, array.dtype);
  if (Numpy::IsPlain(array)) return ViewArray(Py_NewRef(value), spec, input);
  const std::optional<DataType> type = numpy.TypeOf(*reinterpret_cast<DtypeFields*>(array.dtype));
  PyObject* const plain = numpy.Convert(value, numpy.DtypeOf(*type));
  return plain == nullptr ? PythonsError() : ViewArray(plain, spec, input);
}

// Numbers that have no type of their own: the model's is theirs.
Status Convert(const Numpy& numpy, PyObject* value, const TensorSpec& spec, NamedInput* input) {
  if (spec.type == DataType::kBf16 && !numpy.HasBfloat16()) {
    return InvalidArgument("input '", spec.name, "' is BF16: install ml_dtypes, or give the bits ",
                           "as an array of dtype uint16");
  }
  PyObject* const plain = numpy.Convert(value, numpy.DtypeOf(spec.type));
  return plain == nullptr ? PythonsError() : ViewArray(plain, spec, input);
}

// What is left: numpy finds the type, which must be the model's.
Status ReadAny(const Numpy& numpy, PyObject* value, const TensorSpec& spec, NamedInput* input) {
  PyObject* const made = numpy.Convert(value, nullptr);
  if (made == nullptr) return PythonsError();
  const Status status = ReadArray(numpy, made, spec, input);
  Py_DECREF(made);
  return status;
}

// ------------------------------------------------------------------------------------------------
// The buffer protocol.

// The type of a format of one element, e.g. "f" or "<i"; nothing for others.
std::optional<DataType> TypeOfFormat(std::string_view format, Py_ssize_t item_bytes) {
  if (format.size() == 2 && std::strchr("@=<", format[0]) != nullptr) format.remove_prefix(1);
  if (format.size() != 1) return std::nullopt;
  const auto pick = [item_bytes](DataType one, DataType two, DataType four, DataType eight) {
    return item_bytes == 1 ? one : item_bytes == 2 ? two : item_bytes == 4 ? four : eight;
  };
  if (format[0] == '?') return DataType::kBool;
  if (std::strchr("bhilqn", format[0]) != nullptr) {
    return pick(DataType::kInt8, DataType::kInt16, DataType::kInt32, DataType::kInt64);
  }
  if (std::strchr("BHILQN", format[0]) != nullptr) {
    return pick(DataType::kUint8, DataType::kUint16, DataType::kUint32, DataType::kUint64);
  }
  if (format[0] == 'e') return DataType::kFp16;
  if (format[0] == 'f') return DataType::kFp32;
  if (format[0] == 'd') return DataType::kFp64;
  return std::nullopt;
}

// Raw memory has no shape: the model's, if that leaves at most one dimension open.
Status ShapeOfRaw(const TensorSpec& spec, size_t bytes, Shape* shape) {
  *shape = spec.shape;
  size_t known = ElementBytes(spec.type);
  std::optional<size_t> open;
  for (size_t axis = 0; axis < spec.shape.rank(); ++axis) {
    if (spec.shape[axis] >= 0) {
      known *= static_cast<size_t>(spec.shape[axis]);
    } else if (!open) {
      open = axis;
    } else {
      return InvalidArgument("input '", spec.name, "' is given as bytes without a shape, and ",
                             spec.shape.ToString(), " leaves several open: np.frombuffer(x, ",
                             Numpy::SpellingOf(spec.type), ").reshape(...)");
    }
  }
  const bool fits = open ? known > 0 && bytes % known == 0 : bytes == known;
  if (!fits) {
    return InvalidArgument("input '", spec.name, "' has ", bytes, " bytes, expected ",
                           open ? "a multiple of " : "", known, " for ", spec.shape.ToString(),
                           " of ", DataTypeName(spec.type));
  }
  if (open) shape->Set(*open, static_cast<int64_t>(bytes / known));
  return {};
}

Status ReadView(const Py_buffer& view, const TensorSpec& spec, NamedInput* input) {
  Tensor& tensor = input->tensor;
  const std::string_view format = view.format == nullptr ? "B" : view.format;
  const std::optional<DataType> type = TypeOfFormat(format, view.itemsize);
  const bool is_bytes = view.itemsize == 1 && (format == "B" || format == "b" || format == "c");
  const auto rank = static_cast<size_t>(view.ndim);
  if (is_bytes && rank == 1 && (type != spec.type || spec.shape.rank() != 1)) {
    tensor.type = spec.type;
    FS_RETURN_IF_ERROR(ShapeOfRaw(spec, static_cast<size_t>(view.len), &tensor.shape));
  } else if (!type) {
    return InvalidArgument("input '", spec.name, "' is a buffer of format '", format,
                           "', expected ", DataTypeName(spec.type));
  } else if (rank > Shape::kMaxRank) {
    return TooManyDimensions(spec, view.ndim);
  } else {
    tensor.type = *type;
    tensor.shape = Shape(std::span<const int64_t>(view.shape, rank));
  }
  tensor.bytes = {static_cast<const std::byte*>(view.buf), static_cast<size_t>(view.len)};
  return {};
}

Status ReadBuffer(const Numpy& numpy, PyObject* value, const TensorSpec& spec, NamedInput* input) {
  Py_buffer view;
  if (PyObject_GetBuffer(value, &view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) != 0) {
    if (PyErr_ExceptionMatches(PyExc_BufferError) == 0) return PythonsError();
    PyErr_Clear();  // With gaps, say: numpy copies it.
    return ReadAny(numpy, value, spec, input);
  }
  Status status = ReadView(view, spec, input);
  const bool is_aligned = reinterpret_cast<uintptr_t>(view.buf) % ElementBytes(spec.type) == 0;
  if (!status.ok() || !is_aligned) {
    if (status.ok()) {
      input->owner = NewMemory(static_cast<size_t>(view.len));
      std::memcpy(input->owner->data(), view.buf, static_cast<size_t>(view.len));
      input->tensor.bytes = input->owner->bytes();
    }
    PyBuffer_Release(&view);
    return status;
  }
  input->owner = HoldView(view);
  return {};
}

// ------------------------------------------------------------------------------------------------
// DLPack.

// New reference to the capsule, or null with an exception set.
PyObject* CapsuleOf(PyObject* value) {
  static PyObject* const keywords =
      Py_BuildValue("{s(ii)}", "max_version", kDlpackMajor, kDlpackMinor);
  PyObject* const method = PyObject_GetAttrString(value, "__dlpack__");
  if (method == nullptr || keywords == nullptr) return nullptr;
  PyObject* const nothing = PyTuple_New(0);
  PyObject* capsule = PyObject_Call(method, nothing, keywords);
  if (capsule == nullptr && PyErr_ExceptionMatches(PyExc_TypeError) != 0) {
    PyErr_Clear();  // From before DLPack 1: it takes no version.
    capsule = PyObject_CallNoArgs(method);
  }
  Py_DECREF(nothing);
  Py_DECREF(method);
  return capsule;
}

template <typename Managed>
Status Import(PyObject* capsule, const char* name, const char* used, NamedInput* input) {
  Result<DlpackTensor> imported =
      FromDlpack(static_cast<Managed*>(PyCapsule_GetPointer(capsule, name)));
  if (!imported.ok()) return imported.status();  // The capsule's destructor calls the deleter.
  if (PyCapsule_SetName(capsule, used) != 0) return PythonsError();
  input->tensor = imported->tensor;
  input->owner = HoldInner(std::move(imported->owner));
  return {};
}

// Whether the tensor lies where numpy can read it too.
bool IsOnHost(PyObject* value) {
  PyObject* const device = PyObject_CallMethod(value, "__dlpack_device__", nullptr);
  const bool is_host = device != nullptr && PyTuple_Check(device) &&
                       PyTuple_GET_SIZE(device) == 2 &&
                       PyLong_AsLong(PyTuple_GET_ITEM(device, 0)) == kDLCPU;
  Py_XDECREF(device);
  PyErr_Clear();
  return is_host;
}

// With gaps, or in another order: numpy takes it, and copies. `read` (array -> Status) does what is
// done with the array.
template <typename Read>
Status ReadThroughNumpy(PyObject* value, std::string_view name, const Status& why, Read&& read) {
  PyObject* const module = IsOnHost(value) ? PyImport_ImportModule("numpy") : nullptr;
  PyObject* const array =
      module == nullptr ? nullptr : PyObject_CallMethod(module, "from_dlpack", "O", value);
  Py_XDECREF(module);
  if (array == nullptr) {
    PyErr_Clear();
    return InvalidArgument("input '", name, "': ", why.message());
  }
  const Status status = read(array);
  Py_DECREF(array);
  return status;
}

template <typename Read>
Status ReadDlpack(PyObject* value, std::string_view name, NamedInput* input, Read&& read) {
  PyObject* const capsule = CapsuleOf(value);
  if (capsule == nullptr) return PythonsError();
  Status status;
  if (PyCapsule_IsValid(capsule, "dltensor_versioned") != 0) {
    status = Import<DLManagedTensorVersioned>(capsule, "dltensor_versioned",
                                              "used_dltensor_versioned", input);
  } else if (PyCapsule_IsValid(capsule, "dltensor") != 0) {
    status = Import<DLManagedTensor>(capsule, "dltensor", "used_dltensor", input);
  } else {
    PyErr_Format(PyExc_TypeError, "__dlpack__ of %s gave no DLPack tensor",
                 Py_TYPE(value)->tp_name);
    status = PythonsError();
  }
  Py_DECREF(capsule);
  if (status.ok() || PyErr_Occurred() != nullptr) return status;
  return ReadThroughNumpy(value, name, status, read);
}

// A class says what it can, not an object.
bool HasDlpack(PyObject* value) {
  return PyObject_HasAttrString(reinterpret_cast<PyObject*>(Py_TYPE(value)), "__dlpack__") != 0;
}

bool HasNoType(const Numpy& numpy, PyObject* value) {
  return PyList_Check(value) || PyTuple_Check(value) || PyFloat_Check(value) ||
         PyLong_Check(value) || numpy.IsScalar(value);
}

}  // namespace

Status ReadInput(const Numpy& numpy, PyObject* value, const TensorSpec& spec, NamedInput* input) {
  if (spec.type == DataType::kBytes) return ReadStrings(numpy, value, input);
  if (numpy.IsArray(value)) return ReadArray(numpy, value, spec, input);
  if (HasNoType(numpy, value)) return Convert(numpy, value, spec, input);
  if (HasDlpack(value)) {
    return ReadDlpack(value, spec.name, input,
                      [&](PyObject* array) { return ReadArray(numpy, array, spec, input); });
  }
  if (PyObject_CheckBuffer(value) != 0) return ReadBuffer(numpy, value, spec, input);
  return ReadAny(numpy, value, spec, input);
}

Status ReadTypedInput(const Numpy& numpy, PyObject* value, NamedInput* input) {
  TensorSpec spec{.name = std::string(input->name)};
  if (numpy.IsArray(value)) {
    PyObject* const dtype = reinterpret_cast<const ArrayFields*>(value)->dtype;
    const auto& fields = *reinterpret_cast<const DtypeFields*>(dtype);
    if (std::strchr("OSU", fields.kind) != nullptr) return ReadStrings(numpy, value, input);
    const std::optional<DataType> type = numpy.TypeOf(fields);
    if (!type) {
      return InvalidArgument("input '", input->name, "' has dtype ", TextOf(dtype),
                             ", which no model takes");
    }
    spec.type = *type;
    return ReadArray(numpy, value, spec, input);
  }
  if (HasDlpack(value)) {
    return ReadDlpack(value, input->name, input,
                      [&](PyObject* array) { return ReadTypedInput(numpy, array, input); });
  }
  PyObject* const made = numpy.Convert(value, nullptr);
  if (made == nullptr) return PythonsError();
  // Of strings the value itself is read: numpy's own lose the zeros at their ends.
  const PyObject* const dtype = reinterpret_cast<const ArrayFields*>(made)->dtype;
  const bool has_strings =
      std::strchr("OSU", reinterpret_cast<const DtypeFields*>(dtype)->kind) != nullptr;
  const Status status =
      has_strings ? ReadStrings(numpy, value, input) : ReadTypedInput(numpy, made, input);
  Py_DECREF(made);
  return status;
}

}  // namespace fastserve::bind
