#include "bind/arrays/numpy_arrays.h"

#include <pybind11/numpy.h>

#include <string_view>

#include "bind/errors.h"

namespace py = pybind11;

namespace fastserve::bind {
namespace {

using Api = py::detail::npy_api;

constexpr int kPlain = Api::NPY_ARRAY_C_CONTIGUOUS_ | Api::NPY_ARRAY_ALIGNED_;
constexpr int kUserTypes = 256;  // Types that packages register have numbers from here on.

constexpr std::array<std::string_view, kDataTypeCount> kSpellings = {
    "np.bool_",   "np.uint8",   "np.uint16",          "np.uint32", "np.uint64",
    "np.int8",    "np.int16",   "np.int32",           "np.int64",  "np.float16",
    "np.float32", "np.float64", "ml_dtypes.bfloat16", "object"};

// By DataType.
constexpr std::array<int, kDataTypeCount> kNumbers = {
    Api::NPY_BOOL_,  Api::NPY_UINT8_,  Api::NPY_UINT16_, Api::NPY_UINT32_, Api::NPY_UINT64_,
    Api::NPY_INT8_,  Api::NPY_INT16_,  Api::NPY_INT32_,  Api::NPY_INT64_,  23 /* half */,
    Api::NPY_FLOAT_, Api::NPY_DOUBLE_, Api::NPY_UINT16_, Api::NPY_OBJECT_};

const Api& TheApi() { return Api::get(); }

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
  const Api& api = TheApi();
  array_type_ = api.PyArray_Type_;
  py::object scalar = py::module_::import("numpy").attr("generic");
  scalar_type_ = reinterpret_cast<PyTypeObject*>(scalar.release().ptr());
  for (size_t i = 0; i < kNumbers.size(); ++i) {
    dtypes_[i] = api.PyArray_DescrFromType_(kNumbers[i]);
    if (dtypes_[i] == nullptr) throw py::error_already_set();
  }
}

std::optional<DataType> Numpy::TypeOf(const DtypeFields& dtype) const {
  switch (dtype.number) {
    case Api::NPY_BOOL_:
      return DataType::kBool;
    case Api::NPY_BYTE_:
      return DataType::kInt8;
    case Api::NPY_UBYTE_:
      return DataType::kUint8;
    case Api::NPY_SHORT_:
      return DataType::kInt16;
    case Api::NPY_USHORT_:
      return DataType::kUint16;
    case Api::NPY_INT_:
      return DataType::kInt32;
    case Api::NPY_UINT_:
      return DataType::kUint32;
    case Api::NPY_LONG_:
    case Api::NPY_LONGLONG_:
      static_assert(sizeof(long) == 8 && sizeof(long long) == 8);
      return DataType::kInt64;
    case Api::NPY_ULONG_:
    case Api::NPY_ULONGLONG_:
      return DataType::kUint64;
    case 23:
      return DataType::kFp16;
    case Api::NPY_FLOAT_:
      return DataType::kFp32;
    case Api::NPY_DOUBLE_:
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
      bfloat16_ = py::dtype::from_args(type).release().ptr();
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
  return TheApi().PyArray_FromAny_(value, dtype, 0, 0, kPlain, nullptr);
}

PyObject* Numpy::NewArray(PyObject* dtype, const Shape& shape, void* data, int flags) const {
  std::array<Py_intptr_t, Shape::kMaxRank> dims;
  for (size_t axis = 0; axis < shape.rank(); ++axis) dims[axis] = shape[axis];
  return TheApi().PyArray_NewFromDescr_(array_type_, Py_NewRef(dtype),
                                        static_cast<int>(shape.rank()), dims.data(), nullptr, data,
                                        flags, nullptr);
}

PyObject* Numpy::NewView(const Tensor& tensor, bool is_writeable, PyObject* base) const {
  // Without bytes numpy takes its own, since a null would mean that anyway.
  void* const data = tensor.bytes.empty() ? nullptr : const_cast<std::byte*>(tensor.bytes.data());
  const int flags = kPlain | (is_writeable ? Api::NPY_ARRAY_WRITEABLE_ : 0);
  PyObject* const array =
      NewArray(DtypeOf(tensor.type), tensor.shape, data, data == nullptr ? 0 : flags);
  if (array == nullptr || data == nullptr) {
    Py_DECREF(base);
    return array;
  }
  if (TheApi().PyArray_SetBaseObject_(array, base) == 0) return array;  // Steals, also if it fails.
  Py_DECREF(array);
  return nullptr;
}

PyObject* Numpy::NewObjectArray(const Shape& shape) const {
  return NewArray(DtypeOf(DataType::kBytes), shape, nullptr, 0);
}

}  // namespace fastserve::bind
