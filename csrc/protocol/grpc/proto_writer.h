// Protobuf's wire format, written into a ByteWriter: what answers need of it.
//
// Source: Protocol Buffers, "Encoding".
// Threads: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "protocol/byte_writer.h"

namespace fastserve {

constexpr size_t VarintBytes(uint64_t value) {
  size_t bytes = 1;
  while (value >= 0x80) {
    value >>= 7;
    ++bytes;
  }
  return bytes;
}

inline void AppendVarint(uint64_t value, ByteWriter* out) {
  constexpr size_t kVarintBytesMax = 10;
  char* const begin = out->Reserve(kVarintBytesMax);
  char* at = begin;
  while (value >= 0x80) {
    *at++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *at++ = static_cast<char>(value);
  out->Advance(static_cast<size_t>(at - begin));
}

// Field numbers are below 16 here, so that a tag is one byte.

// The head of a field whose length stands before it: strings, bytes, messages.
inline void AppendLengthHead(uint32_t field, uint64_t length, ByteWriter* out) {
  out->Append(static_cast<char>(field << 3 | 2));
  AppendVarint(length, out);
}
constexpr size_t LengthFieldBytes(uint64_t length) { return 1 + VarintBytes(length) + length; }

inline void AppendVarintField(uint32_t field, uint64_t value, ByteWriter* out) {
  out->Append(static_cast<char>(field << 3));
  AppendVarint(value, out);
}
constexpr size_t VarintFieldBytes(uint64_t value) { return 1 + VarintBytes(value); }

// proto3: what is empty is not written.
inline void AppendStringField(uint32_t field, std::string_view text, ByteWriter* out) {
  if (text.empty()) return;
  AppendLengthHead(field, text.size(), out);
  out->Append(text);
}
constexpr size_t StringFieldBytes(std::string_view text) {
  return text.empty() ? 0 : LengthFieldBytes(text.size());
}

}  // namespace fastserve
