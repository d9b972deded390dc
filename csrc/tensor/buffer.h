// Buffer: bytes with an owner count, and BufferRef, the handle that counts.
//
// A buffer may have many readers on many threads: the batch that gathers from it, the response
// whose rows are views of it, the socket that is still sending it. The last BufferRef to go
// releases it, on whatever thread that is; where it came from (a slab pool, an engine's output, a
// Python object) is known to `release` alone.
//
// Invariants:
//   1. data() and size() never change while a reference exists.
//   2. Writing is for the one holder who knows that nobody reads yet (has_one_owner()).
// Threads: references may be copied and dropped anywhere; the count is atomic.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace fastserve {

class Buffer {
 public:
  // Called once, by the last owner; must free the Buffer itself as well as its bytes.
  using Release = void (*)(Buffer*);

  Buffer(std::byte* data, size_t size, Release release)
      : data_(data), size_(size), release_(release) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  std::span<std::byte> bytes() const { return {data_, size_}; }

  // True when the caller's reference is the only one.
  bool has_one_owner() const {
    // SYNC(buffer-released): pairs with Unref; what other owners did to the bytes happened before.
    return owners_.load(std::memory_order_acquire) == 1;
  }

 private:
  friend class BufferRef;
  void Ref() { owners_.fetch_add(1, std::memory_order_relaxed); }
  void Unref() {
    // SYNC(buffer-released): each owner's use of the bytes happens before their release.
    if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) release_(this);
  }

  std::byte* data_;
  size_t size_;
  Release release_;
  std::atomic<uint32_t> owners_{1};
};

class BufferRef {
 public:
  BufferRef() = default;
  // Takes over the one reference that a new Buffer is born with.
  static BufferRef Adopt(Buffer* buffer) {
    BufferRef ref;
    ref.buffer_ = buffer;
    return ref;
  }
  BufferRef(const BufferRef& other) : buffer_(other.buffer_) {
    if (buffer_ != nullptr) buffer_->Ref();
  }
  BufferRef(BufferRef&& other) noexcept : buffer_(std::exchange(other.buffer_, nullptr)) {}
  BufferRef& operator=(BufferRef other) noexcept {
    std::swap(buffer_, other.buffer_);
    return *this;
  }
  ~BufferRef() {
    if (buffer_ != nullptr) buffer_->Unref();
  }

  explicit operator bool() const { return buffer_ != nullptr; }
  Buffer* operator->() const { return buffer_; }
  Buffer& operator*() const { return *buffer_; }
  Buffer* get() const { return buffer_; }

 private:
  Buffer* buffer_ = nullptr;
};

}  // namespace fastserve
