#include "bind/arrays/numpy_arrays.h"

#include <pybind11/pybind11.h>

#include <string>
#include <string_view>

#include "bind/errors.h"

namespace py = pybind11;

namespace fastserve::bind {
namespace {

// Functions of numpy's C API by their place in its table, which 1.26 and 2.x share. (pybind11's own
// table waits for its first user in a way that a thread which ends with the interpreter aborts in.)
struct Api {
  PyTypeObject* array_type;
  PyObject* (*descr_from_type)(int);
  PyObject* (*from_any)(PyObject*, PyObject*, int, int, int, PyObject*);
  PyObject* (*new_from_descr)(PyTypeObject*, PyObject*, int, Py_ssize_t const*, Py_ssize_t const*,
                              void*, int, PyObject*);
  int (*set_base_object)(PyObject*, PyObject*);
};
Api api;

// numpy's numbers of its types.
enum Number : int {
  kBool = 0,
  kByte,
  kUbyte,
  kShort,
  kUshort,
  kInt,
  kUint,
  kLong,
  kUlong,
  kLonglong,
  kUlonglong,
  kFloat,
  kDouble,
  kObject = 17,
  kHalf = 23,
};

constexpr int kPlain = 0x0001 | 0x0100;  // C-contiguous, aligned.
constexpr int kWriteable = 0x0400;
constexpr int kUserTypes = 256;  // Types that packages register have numbers from here on.

constexpr std::array<std::string_view, kDataTypeCount> kSpellings = {
    "np.bool_",   "np.uint8",   "np.uint16",          "np.uint32", "np.uint64",
    "np.int8",    "np.int16",   "np.int32",           "np.int64",  "np.float16",
    "np.float32", "np.float64", "ml_dtypes.bfloat16", "object"};

// By DataType.
constexpr std::array<int, kDataTypeCount> kNumbers = {kBool,  kUbyte,  kUshort, kUint,  kUlong,
                                                      kByte,  kShort,  kInt,    kLong,  kHalf,
                                                      kFloat, kDouble, kUshort, kObject};

void ReadApi() {
  py::module_ module = py::module_::import("numpy");
  const bool is_1 = py::str(module.attr("__version__")).cast<std::string>().starts_with("1.");
  module = py::module_::import(is_1 ? "numpy.core.multiarray" : "numpy._core.multiarray");
  const py::object capsule = module.attr("_ARRAY_API");
  auto** const table = static_cast<void**>(PyCapsule_GetPointer(capsule.ptr(), nullptr));
  if (table == nullptr) throw py::error_already_set();
  api.array_type = static_cast<PyTypeObject*>(table[2]);
  api.descr_from_type = reinterpret_cast<decltype(api.descr_from_type)>(table[45]);
  api.from_any = reinterpret_cast<decltype(api.from_any)>(table[69]);
  api.new_from_descr = reinterpret_cast<decltype(api.new_from_descr)>(table[94]);
  api.set_base_object = reinterpret_cast<decltype(api.set_base_object)>(table[282]);
}

}  // namespace

const Numpy* Numpy::Get() {
  static const Numpy* numpy = nullptr;
  if (numpy != nullptr) [[likely]]
    return numpy;
  return Guarded(static_cast<const Numpy*>(nullptr), [] {
    // Importing runs Python code, and so other threads: the first to come back is kept.
    const Numpy* const made = new Numpy;
    if (numpy == nullptr) numpy = made;
    return numpy;
  });
}

Numpy::Numpy() {
  ReadApi();
  array_type_ = api.array_type;
  py::object scalar = py::module_::import("numpy").attr("generic");
  scalar_type_ = reinterpret_cast<PyTypeObject*>(scalar.release().ptr());
  for (size_t i = 0; i < kNumbers.size(); ++i) {
    dtypes_[i] = api.descr_from_type(kNumbers[i]);
    if (dtypes_[i] == nullptr) throw py::error_already_set();
  }
}

std::optional<DataType> Numpy::TypeOf(const DtypeFields& dtype) const {
  switch (dtype.number) {
    case kBool:
      return DataType::kBool;
    case kByte:
      return DataType::kInt8;
    case kUbyte:
      return DataType::kUint8;
    case kShort:
      return DataType::kInt16;
    case kUshort:
      return DataType::kUint16;
    case kInt:
      return DataType::kInt32;
    case kUint:
      return DataType::kUint32;
    case kLong:
    case kLonglong:
      static_assert(sizeof(long) == 8 && sizeof(long long) == 8);
      return DataType::kInt64;
    case kUlong:
    case kUlonglong:
      return DataType::kUint64;
    case kHalf:
      return DataType::kFp16;
    case kFloat:
      return DataType::kFp32;
    case kDouble:
      return DataType::kFp64;
    default:
      break;
  }
  if (dtype.number < kUserTypes) return std::nullopt;
  const auto* const bfloat16 = reinterpret_cast<const DtypeFields*>(Bfloat16());
  if (bfloat16 == nullptr || bfloat16->number != dtype.number) return std::nullopt;
  return DataType::kBf16;
}

PyObject* Numpy::Bfloat16() const {
  if (bfloat16_ == nullptr) {
    try {
      const py::object type = py::module_::import("ml_dtypes").attr("bfloat16");
      bfloat16_ = py::module_::import("numpy").attr("dtype")(type).release().ptr();
    } catch (const py::error_already_set&) {
      bfloat16_ = Py_None;  // It is not installed.
    }
  }
  return bfloat16_ == Py_None ? nullptr : bfloat16_;
}

bool Numpy::IsPlain(const ArrayFields& array) {
  // numpy writes the machine's own order as '=' (or '|', where there is none).
  return (array.flags & kPlain) == kPlain &&
         reinterpret_cast<const DtypeFields*>(array.dtype)->byteorder != '>';
}

PyObject* Numpy::DtypeOf(DataType type) const {
  if (type == DataType::kBf16 && HasBfloat16()) return bfloat16_;
  return dtypes_[static_cast<size_t>(type)];
}

std::string Numpy::SpellingOf(DataType type) {
  return std::string(kSpellings[static_cast<size_t>(type)]);
}

PyObject* Numpy::Convert(PyObject* value, PyObject* dtype) const {
  // An array in the other byte order keeps its dtype unless another is asked for.
  Py_XINCREF(dtype);
  return api.from_any(value, dtype, 0, 0, kPlain, nullptr);
}

PyObject* Numpy::NewArray(PyObject* dtype, const Shape& shape, void* data, int flags) const {
  std::array<Py_ssize_t, Shape::kMaxRank> dims;
  for (size_t axis = 0; axis < shape.rank(); ++axis) dims[axis] = shape[axis];
  return api.new_from_descr(array_type_, Py_NewRef(dtype), static_cast<int>(shape.rank()),
                            dims.data(), nullptr, data, flags, nullptr);
}

PyObject* Numpy::NewView(const Tensor& tensor, bool is_writeable, PyObject* base) const {
  // Without bytes numpy takes its own, since a null would mean that anyway.
  void* const data = tensor.bytes.empty() ? nullptr : const_cast<std::byte*>(tensor.bytes.data());
  const int flags = kPlain | (is_writeable ? kWriteable : 0);
  PyObject* const array =
      NewArray(DtypeOf(tensor.type), tensor.shape, data, data == nullptr ? 0 : flags);
  if (array == nullptr || data == nullptr) {
    Py_DECREF(base);
    return array;
  }
  if (api.set_base_object(array, base) == 0) return array;  // Steals, also if it fails.
  Py_DECREF(array);
  return nullptr;
}

PyObject* Numpy::NewObjectArray(const Shape& shape) const {
  return NewArray(DtypeOf(DataType::kBytes), shape, nullptr, 0);
}

}  // namespace fastserve::bind
