// Text compressed, for tests.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "protocol/compression/deflater.h"
#include "protocol/compression/inflater.h"

namespace fastserve {

inline std::string Compressed(ContentCoding coding, std::string_view text) {
  Deflater deflater;
  ByteWriter out;
  EXPECT_TRUE(deflater.Compress(coding, {&text, 1}, &out).ok());
  return std::string(out.view());
}

// The text again, of at most a megabyte.
inline std::string Plain(ContentCoding coding, std::string_view compressed) {
  Inflater inflater(coding, std::as_bytes(std::span(compressed.data(), compressed.size())));
  std::string text(1 << 20, '\0');
  const Result<size_t> read = inflater.Read(std::as_writable_bytes(std::span(text)));
  EXPECT_TRUE(read.ok()) << read.status().message();
  text.resize(read.ok() ? *read : 0);
  return text;
}

// Bytes that do not repeat.
inline std::string Noise(size_t bytes) {
  std::string noise(bytes, '\0');
  uint32_t state = 1;
  for (char& byte : noise) byte = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return noise;
}

}  // namespace fastserve
