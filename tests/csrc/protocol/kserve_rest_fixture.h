// What the tests of the REST codec share: bodies in memory of exactly the promised size (so that
// AddressSanitizer sees a byte too many), and an allocator that counts and can say no.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/kserve_rest.h"

namespace fastserve {

class CountingAllocator : public TensorAllocator {
 public:
  std::span<std::byte> Allocate(size_t bytes) override {
    ++calls;
    if (total_bytes + bytes > limit_bytes) return {};
    total_bytes += bytes;
    memory_.emplace_back(static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)));
    return {memory_.back().get(), bytes};
  }

  size_t calls = 0;
  size_t total_bytes = 0;
  size_t limit_bytes = std::numeric_limits<size_t>::max();

 private:
  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };
  std::vector<std::unique_ptr<std::byte, Free>> memory_;
};

class KserveRest : public testing::Test {
 protected:
  // Decodes `json` and the binary `tail`; without a tail the whole body is JSON.
  Status Decode(std::string_view json, std::optional<std::string_view> tail = std::nullopt) {
    const std::string_view behind = tail.value_or("");
    const size_t bytes = json.size() + behind.size();
    body_.reset(new char[bytes + 64]);
    std::memcpy(body_.get(), json.data(), json.size());
    if (!behind.empty()) std::memcpy(body_.get() + json.size(), behind.data(), behind.size());
    std::memset(body_.get() + bytes, padding_, 64);
    const auto body = std::as_bytes(std::span(body_.get(), bytes));
    return decoder_.Decode(body, tail ? std::optional<uint64_t>(json.size()) : std::nullopt,
                           allocator_, &request_);
  }

  // A request of one input `x`.
  static std::string Request(std::string_view datatype, std::string_view shape,
                             std::string_view data) {
    return StrCat(R"({"inputs":[{"name":"x","datatype":")", datatype, R"(","shape":)", shape,
                  R"(,"data":)", data, "}]}");
  }
  Status DecodeData(std::string_view datatype, std::string_view shape, std::string_view data) {
    return Decode(Request(datatype, shape, data));
  }

  // The elements of the request's input `index`.
  template <typename T>
  std::vector<T> Values(size_t index = 0) {
    const std::span<const std::byte> bytes = request_.inputs.at(index).tensor.bytes;
    std::vector<T> values(bytes.size() / sizeof(T));
    if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }

  std::unique_ptr<char[]> body_;
  char padding_ = '1';  // Would continue a number or a literal.
  CountingAllocator allocator_;
  KserveRestDecoder decoder_;
  InferBody request_;
};

// Expects an error with this code whose message contains `part`.
inline void ExpectError(const Status& status, Code code, std::string_view part) {
  EXPECT_EQ(CodeName(status.code()), CodeName(code)) << status.message();
  EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
}
inline void ExpectInvalid(const Status& status, std::string_view part) {
  ExpectError(status, Code::kInvalidArgument, part);
}
inline void ExpectOk(const Status& status) { EXPECT_TRUE(status.ok()) << status.message(); }

}  // namespace fastserve
