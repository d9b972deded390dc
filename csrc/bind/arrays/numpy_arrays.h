// Numpy: arrays made and looked into through numpy's C API, without its headers.
//
// numpy is imported by the first Get, since that takes a tenth of a second. The structs below are
// the part of numpy's ABI that 1.26 and 2.x share.
//
// Threads: with the GIL. (A build without one would have to guard the first Get and the search for
// ml_dtypes; the rest is constant.)
#pragma once

#include <Python.h>

#include <array>
#include <optional>
#include <span>
#include <string>

#include "tensor/data_type.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace fastserve::bind {

// The start of numpy's PyArrayObject.
struct ArrayFields {
  PyObject_HEAD char* data;
  int rank;
  Py_ssize_t* dims;
  Py_ssize_t* strides;
  PyObject* base;
  PyObject* dtype;
  int flags;
};

// The start of numpy's PyArray_Descr.
struct DtypeFields {
  PyObject_HEAD PyObject* type_object;
  char kind;
  char type;
  char byteorder;
  char former_flags;
  int number;
};

class Numpy {
 public:
  // Null with an exception set when numpy cannot be imported.
  static const Numpy* Get();

  bool IsArray(PyObject* object) const {
    return Py_IS_TYPE(object, array_type_) || PyType_IsSubtype(Py_TYPE(object), array_type_);
  }
  bool IsScalar(PyObject* object) const { return PyType_IsSubtype(Py_TYPE(object), scalar_type_); }

  // The type of a dtype in any byte order; nothing for one that no model has (and for strings).
  std::optional<DataType> TypeOf(const DtypeFields& dtype) const;
  // Whether its elements may be read where they lie: in C order, aligned, in this machine's order.
  static bool IsPlain(const ArrayFields& array);

  // The dtype for a type (BYTES: object; BF16: ml_dtypes' if it is there, else uint16). Borrowed.
  PyObject* DtypeOf(DataType type) const;
  // Whether BF16 has a dtype of its own here.
  bool HasBfloat16() const { return Bfloat16() != nullptr; }
  // As a user writes it: "np.float32".
  static std::string SpellingOf(DataType type);

  // All of these return a new reference, or null with an exception set.

  // `value` as a plain array; `dtype` null: of whatever type numpy finds for it. May be `value`.
  PyObject* Convert(PyObject* value, PyObject* dtype) const;
  // An array over the tensor's bytes, which `base` keeps alive; takes over the reference to it.
  PyObject* NewView(const Tensor& tensor, bool is_writeable, PyObject* base) const;
  // An array of objects, all of them null (None): to be filled at once.
  PyObject* NewObjectArray(const Shape& shape) const;

 private:
  Numpy();
  PyObject* Bfloat16() const;
  PyObject* NewArray(PyObject* dtype, const Shape& shape, void* data, int flags) const;

  PyTypeObject* array_type_;
  PyTypeObject* scalar_type_;
  // By DataType; that of BF16 is uint16's.
  std::array<PyObject*, kDataTypeCount> dtypes_{};
  // ml_dtypes' bfloat16: null while nobody needed it, None if it is not there.
  mutable PyObject* bfloat16_ = nullptr;
};

// The elements of a plain array of objects.
inline std::span<PyObject* const> ObjectsOf(const ArrayFields& array) {
  size_t count = 1;
  for (int axis = 0; axis < array.rank; ++axis) count *= static_cast<size_t>(array.dims[axis]);
  return {reinterpret_cast<PyObject**>(array.data), count};
}

}  // namespace fastserve::bind
