// ByteWriter: a growable buffer that codecs append to, without zeroing what is written anyway.
//
//   char* at = out.Reserve(20);           // at least 20 writable bytes
//   out.Advance(Format(at) - at);         // that many became part of the contents
//   ByteWriter::Storage bytes = out.Release();   // handed to the socket, nothing copied
//
// Clear() keeps the capacity, so that a writer that is reused stops allocating. Memory that cannot
// be had is std::bad_alloc, as of a vector; what was written stays.
// Threads: none; one writer belongs to one thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace fastserve {

class ByteWriter {
 public:
  struct Storage {
    std::unique_ptr<char[]> bytes;
    size_t size = 0;
  };

  ByteWriter() = default;
  ByteWriter(ByteWriter&& other) noexcept
      : bytes_(std::move(other.bytes_)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  ByteWriter& operator=(ByteWriter&& other) noexcept {
    bytes_ = std::move(other.bytes_);
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, 0);
    return *this;
  }

  // Room for `bytes` more at the end; the pointer holds until the next call that may grow.
  char* Reserve(size_t bytes) {
    if (capacity_ - size_ < bytes) Grow(bytes);
    return bytes_.get() + size_;
  }
  // The first `bytes` of what Reserve gave are written.
  void Advance(size_t bytes) {
    FS_CHECK_OP(bytes, <=, capacity_ - size_);
    size_ += bytes;
  }

  void Append(std::string_view text) {
    if (text.empty()) return;  // memcpy wants a pointer even for nothing.
    std::memcpy(Reserve(text.size()), text.data(), text.size());
    size_ += text.size();
  }
  void Append(char byte) {
    *Reserve(1) = byte;
    ++size_;
  }

  // Writes over what stands at `at`: a length that is known when what it counts is there.
  void Overwrite(size_t at, std::string_view text) {
    FS_CHECK(at <= size_ && text.size() <= size_ - at);
    std::memcpy(bytes_.get() + at, text.data(), text.size());
  }

  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  std::string_view view() const { return {bytes_.get(), size_}; }
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(bytes_.get(), size_)); }

  // Forgets everything after the first `size` bytes, e.g. a response that failed half-way.
  void Truncate(size_t size) {
    FS_CHECK_OP(size, <=, size_);
    size_ = size;
  }
  void Clear() { size_ = 0; }

  // Moves the contents out; the writer is then as new.
  Storage Release() {
    capacity_ = 0;
    return {std::move(bytes_), std::exchange(size_, 0)};
  }

 private:
  // Doubling, so that appending n bytes copies O(n); 512 holds the head of a small response.
  void Grow(size_t bytes) {
    const size_t capacity = std::max({size_ + bytes, 2 * capacity_, size_t{512}});
    std::unique_ptr<char[]> grown(new char[capacity]);
    if (size_ > 0) std::memcpy(grown.get(), bytes_.get(), size_);
    bytes_ = std::move(grown);
    capacity_ = capacity;
  }

  std::unique_ptr<char[]> bytes_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace fastserve
