// What the tests of the gRPC codec share.
#pragma once

#include <string>
#include <string_view>

#include "protocol/grpc/kserve_grpc.h"
#include "protocol/grpc/proto_text.h"
#include "protocol/kserve_rest_fixture.h"

namespace fastserve {

class KserveGrpc : public testing::Test {
 protected:
  // The message lies in memory of exactly its size.
  Status Decode(std::string_view message) {
    message_.reset(new char[message.size()]);
    if (!message.empty()) std::memcpy(message_.get(), message.data(), message.size());
    return decoder_.Decode(std::as_bytes(std::span(message_.get(), message.size())), allocator_,
                           &request_);
  }
  std::string ErrorOf(std::string_view message) {
    const Status status = Decode(message);
    EXPECT_FALSE(status.ok());
    return status.message();
  }
  // A request of one input of these fields.
  std::string InputErrorOf(std::string_view input) { return ErrorOf(proto::Bytes(5, input)); }
  std::string ContentOf(size_t input) const {
    const auto bytes = request_.inputs[input].tensor.bytes;
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  CountingAllocator allocator_;
  KserveGrpcDecoder decoder_;
  InferBody request_;
  std::unique_ptr<char[]> message_;
};

}  // namespace fastserve
