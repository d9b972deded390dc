#include "bind/buffer_object.h"

#include <new>
#include <utility>

#include "bind/arrays/deferred.h"
#include "bind/register.h"

namespace fastserve::bind {
namespace {

struct BufferObject {
  PyObject_HEAD std::span<std::byte> bytes;
  BufferRef owner;
  bool is_readonly;
};

PyTypeObject* buffer_type = nullptr;

void Dealloc(PyObject* self) {
  PyTypeObject* const type = Py_TYPE(self);
  auto* const buffer = reinterpret_cast<BufferObject*>(self);
  {
    const GilHeld held;  // It may be memory of Python's.
    buffer->owner.~BufferRef();
  }
  type->tp_free(self);
  Py_DECREF(type);
}

int GetBuffer(PyObject* self, Py_buffer* view, int flags) {
  auto* const buffer = reinterpret_cast<BufferObject*>(self);
  return PyBuffer_FillInfo(view, self, buffer->bytes.data(),
                           static_cast<Py_ssize_t>(buffer->bytes.size()), buffer->is_readonly,
                           flags);
}

Py_ssize_t Length(PyObject* self) {
  return static_cast<Py_ssize_t>(reinterpret_cast<BufferObject*>(self)->bytes.size());
}

PyType_Slot slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(&Dealloc)},
    {Py_bf_getbuffer, reinterpret_cast<void*>(&GetBuffer)},
    {Py_sq_length, reinterpret_cast<void*>(&Length)},
    {Py_tp_doc, const_cast<char*>("Bytes that the core owns; use memoryview().")},
    {0, nullptr},
};
PyType_Spec spec = {
    .name = "fastserve._core.Buffer",
    .basicsize = sizeof(BufferObject),
    .itemsize = 0,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

}  // namespace

PyObject* NewBufferObject(std::span<std::byte> bytes, BufferRef owner, bool is_readonly) {
  auto* const buffer = reinterpret_cast<BufferObject*>(buffer_type->tp_alloc(buffer_type, 0));
  if (buffer == nullptr) return nullptr;
  buffer->bytes = bytes;
  new (&buffer->owner) BufferRef(std::move(owner));
  buffer->is_readonly = is_readonly;
  return reinterpret_cast<PyObject*>(buffer);
}

void RegisterBuffer(pybind11::module_& module) {
  PyObject* const type = PyType_FromSpec(&spec);
  if (type == nullptr) throw pybind11::error_already_set();
  buffer_type = reinterpret_cast<PyTypeObject*>(type);
  module.add_object("Buffer", type);
}

}  // namespace fastserve::bind
