// Inflater: the plain bytes of something compressed, a piece at a time.
//
//   Inflater inflater(ContentCoding::kGzip, received);
//   do { read = inflater.Read(room); ... } while (read.ok() && *read > 0);
//
// The input is complete, and is held against the format to its last byte: the checksums, no byte
// too few and none too many. Several gzip members, one behind the other, are one text (RFC
// 1952, 2.2). How much comes out is for the caller to limit: deflate says 1032 bytes with one.
//
// Threads: none; belongs to one body.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/status.h"
#include "protocol/compression/content_coding.h"

namespace fastserve {

class Inflater {
 public:
  // Not of kIdentity. `input` must outlive it.
  Inflater(ContentCoding coding, std::span<const std::byte> input);
  ~Inflater();
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // Fills `room` (which is not empty) from its beginning; returns how many bytes that were: fewer
  // than there is room for only at the end. Errors: INVALID_ARGUMENT for what is no such format, or
  // damaged, or has an end too soon or something behind it; UNAVAILABLE without memory. After an
  // error it reads no more.
  Result<size_t> Read(std::span<std::byte> room);

  // What the input says its plain bytes are, if that is believable: a gzip file's last four bytes.
  std::optional<size_t> claimed_bytes() const;

 private:
  enum class State : uint8_t { kReading, kEnded, kFailed };

  Status Step();
  Status EndMember();
  Status Fail(Status status);

  const ContentCoding coding_;
  std::span<const std::byte> input_;  // What zlib has not been given.
  const std::span<const std::byte> all_;
  struct Stream;
  std::unique_ptr<Stream> stream_;
  State state_ = State::kReading;
};

}  // namespace fastserve
