// What the tests of clients do all the time.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "channel/client/channel_client.h"
#include "channel/client/scripted_server.h"

namespace fastserve {

inline constexpr size_t kTestSegmentBytes = size_t{4} << 20;

inline ChannelClientOptions TestOptions() {
  ChannelClientOptions options;
  options.segment_bytes = kTestSegmentBytes;
  return options;
}

// Null, and the test has failed, when there is none.
inline std::shared_ptr<ChannelClient> ConnectTo(
    const ScriptedServer& server, const ChannelClientOptions& options = TestOptions()) {
  Result<std::shared_ptr<ChannelClient>> client = ChannelClient::Connect(server.address(), options);
  EXPECT_TRUE(client.ok()) << client.status().message();
  return client.ok() ? *client : nullptr;
}

// With one input of these bytes.
inline std::shared_ptr<ChannelCall> NewCall(ChannelClient& client, std::string_view model,
                                            std::string_view bytes) {
  std::shared_ptr<ChannelCall> call = *client.NewCall(model, "", "");
  const Result<ChannelBytes> input =
      call->AddInput("x", DataType::kUint8, Shape({static_cast<int64_t>(bytes.size())}));
  EXPECT_TRUE(input.ok()) << input.status().message();
  if (input.ok()) std::memcpy(input->bytes.data(), bytes.data(), bytes.size());
  return call;
}

// The next response, which there is.
inline ChannelResponse NextOf(ChannelCall& call) {
  Result<std::optional<ChannelResponse>> next = call.Next(NowNanos() + 20 * kSecond);
  EXPECT_TRUE(next.ok()) << next.status().message();
  if (!next.ok()) return {};
  EXPECT_TRUE(next->has_value());
  return next->has_value() ? *std::move(*next) : ChannelResponse();
}

// The error that is next.
inline Status ErrorOf(ChannelCall& call, Nanos until) {
  const Result<std::optional<ChannelResponse>> next = call.Next(until);
  EXPECT_FALSE(next.ok());
  return next.status();
}
inline Status ErrorOf(ChannelCall& call) { return ErrorOf(call, NowNanos() + 20 * kSecond); }

// Whether it ended well, and there are no more responses.
inline bool IsOver(ChannelCall& call) {
  const Result<std::optional<ChannelResponse>> next = call.Next(NowNanos() + 20 * kSecond);
  EXPECT_TRUE(next.ok()) << next.status().message();
  return next.ok() && !next->has_value();
}

}  // namespace fastserve
