#include "bind/arrays/held_memory.h"

#include <new>
#include <utility>

#include "bind/arrays/deferred.h"

namespace fastserve::bind {
namespace {

// `Held` lets go of what it holds in its destructor.
template <typename Held>
struct HeldMemory : Buffer, Deferred {
  HeldMemory(std::span<const std::byte> bytes, Held held)
      : Buffer(const_cast<std::byte*>(bytes.data()), bytes.size(), &Release),
        Deferred(&Delete),
        held(std::move(held)) {}

  static void Release(Buffer* buffer) { RunWithGil(static_cast<HeldMemory*>(buffer)); }
  static void Delete(Deferred* node) { delete static_cast<HeldMemory*>(node); }

  Held held;
};

struct HeldObject {
  explicit HeldObject(PyObject* object) : object(object) {}
  HeldObject(HeldObject&& other) noexcept : object(std::exchange(other.object, nullptr)) {}
  HeldObject& operator=(HeldObject&&) = delete;
  ~HeldObject() { Py_XDECREF(object); }
  PyObject* object;
};

struct HeldView {
  explicit HeldView(const Py_buffer& view) : view(view) {}
  HeldView(HeldView&& other) noexcept : view(other.view) { other.view.obj = nullptr; }
  HeldView& operator=(HeldView&&) = delete;
  // Does nothing for a view without an object.
  ~HeldView() { PyBuffer_Release(&view); }
  Py_buffer view;
};

void Free(Buffer* buffer) {
  buffer->~Buffer();
  ::operator delete(buffer);
}

}  // namespace

BufferRef HoldObject(PyObject* object, std::span<const std::byte> bytes) {
  return BufferRef::Adopt(new HeldMemory<HeldObject>(bytes, HeldObject(object)));
}

BufferRef HoldView(const Py_buffer& view) {
  const std::span bytes(static_cast<const std::byte*>(view.buf), static_cast<size_t>(view.len));
  return BufferRef::Adopt(new HeldMemory<HeldView>(bytes, HeldView(view)));
}

BufferRef HoldInner(BufferRef inner) {
  const std::span<const std::byte> bytes = inner->bytes();
  return BufferRef::Adopt(new HeldMemory<BufferRef>(bytes, std::move(inner)));
}

BufferRef NewMemory(size_t bytes) {
  static_assert(sizeof(Buffer) % alignof(std::max_align_t) == 0);
  auto* const memory = static_cast<std::byte*>(::operator new(sizeof(Buffer) + bytes));
  return BufferRef::Adopt(new (memory) Buffer(memory + sizeof(Buffer), bytes, &Free));
}

}  // namespace fastserve::bind
