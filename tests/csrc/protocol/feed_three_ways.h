// FeedThreeWays: a codec that is fed bytes must say the same however they arrive.
//
//   const std::string said = FeedThreeWays("GET / HTTP/1.1\r\n...", [](const Pieces& pieces) {
//     ...                                       // reads the pieces one after the other, describes
//     return description;                       // all that came out, "needs more" at the end
//   });
//
// The ways: whole, byte by byte, cut in two at every place, and with a next message behind it.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fastserve {

using Pieces = std::vector<std::string_view>;

// How a description ends whose message was not complete: only then may more bytes change it.
inline constexpr std::string_view kNeedsMore = "needs more";

// A copy in memory of exactly its size, so that AddressSanitizer sees a byte too many.
class ExactCopy {
 public:
  explicit ExactCopy(std::string_view bytes) : bytes_(new char[bytes.size()]), size_(bytes.size()) {
    if (size_ > 0) std::memcpy(bytes_.get(), bytes.data(), size_);
  }
  std::string_view view() const { return {bytes_.get(), size_}; }

 private:
  std::unique_ptr<char[]> bytes_;
  size_t size_;
};

// Returns what `read` (const Pieces& -> std::string) says of the whole message.
template <typename Read>
std::string FeedThreeWays(std::string_view message, Read&& read) {
  const std::string whole = read(Pieces{message});
  Pieces bytes;
  for (size_t i = 0; i < message.size(); ++i) bytes.push_back(message.substr(i, 1));
  EXPECT_EQ(read(bytes), whole) << "byte by byte: " << message;
  for (size_t cut = 1; cut < message.size(); ++cut) {
    EXPECT_EQ(read(Pieces{message.substr(0, cut), message.substr(cut)}), whole)
        << "cut at " << cut << ": " << message;
  }
  if (!whole.ends_with(kNeedsMore)) {
    for (std::string_view next : {"GET /next HTTP/1.1\r\nHost: b\r\n\r\n", "\r\n", "\n", "0"}) {
      const std::string both = std::string(message).append(next);
      EXPECT_EQ(read(Pieces{both}), whole) << "with a next message: " << both;
    }
  }
  return whole;
}

}  // namespace fastserve
