// BodyReceiver: a request's body on its way into the memory that the model will read.
//
// Placement before payload: the head says how many bytes come and where their JSON part ends, so
// the slab is chosen, and the body placed in it, before the first byte arrives. The part behind the
// JSON, which is tensors, begins on a line of 64 bytes: engines read it where it lies.
//
//   Status status = body.Start(head.content_length, head.inference_header_length);
//   while (!body.complete()) body.Received(Read(body.Tail()));
//
// A chunked body has no length in its head; it grows with what comes (Append, Finish).
//
// Threads: none; a receiver belongs to one request at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/status.h"
#include "memory/slab_pool.h"
#include "protocol/compression/content_coding.h"
#include "serving/admission.h"

namespace fastserve {

class Inflater;

class BodyReceiver {
 public:
  BodyReceiver(std::shared_ptr<Admission> admission, std::shared_ptr<SlabPool> pool);
  ~BodyReceiver() { Reset(); }
  BodyReceiver(BodyReceiver&& other) noexcept;
  BodyReceiver& operator=(BodyReceiver&& other) noexcept;

  // A body of `length` bytes comes. Errors: OUT_OF_RANGE when it is too large for this server,
  // UNAVAILABLE when the server holds too much already.
  Status Start(uint64_t length, std::optional<uint64_t> json_bytes);
  // Where the next bytes go; empty when complete.
  std::span<std::byte> Tail() const;
  void Received(size_t bytes);
  bool complete() const { return received_ == length_; }

  // A body of unknown length comes, in pieces. Errors of Append: as for Start.
  void StartChunked(std::optional<uint64_t> json_bytes);
  Status Append(std::string_view data);
  void FinishChunked() { length_ = received_; }

  // What was received was compressed: puts the plain bytes in its place, of which the first
  // `json_bytes` are JSON. Of nothing nothing becomes. Errors: as for Append, and those of
  // Inflater; then it is empty.
  Status Decompress(ContentCoding coding, std::optional<uint64_t> json_bytes);

  // What was received. At least 64 bytes behind it may be read. Empty for a body of no bytes, of
  // which the owner is null.
  std::span<const std::byte> bytes() const;
  const BufferRef& owner() const { return slab_; }

  // Gives memory and reservation back (other references to the owner keep the memory itself).
  void Reset();

 private:
  Status Grow(size_t needed);
  Status Inflate(Inflater& inflater);

  std::shared_ptr<Admission> admission_;
  std::shared_ptr<SlabPool> pool_;
  BufferRef slab_;
  size_t start_ = 0;   // Of the body in the slab.
  size_t length_ = 0;  // Of the body; of a chunked one, what there is room for.
  size_t received_ = 0;
  size_t reserved_ = 0;
};

}  // namespace fastserve
