#include "channel/client/channel_call.h"

#include <gtest/gtest.h>

#include <cstring>

#include "channel/client/clients.h"
#include "channel/client/scripted_server.h"
#include "memory/lost_pages.h"

namespace fastserve {
namespace {

void Echo(ServedChannel& channel, const Descriptor& said) {
  if (said.deadline_ns != kNever) return channel.EchoInputs(said);  // The very bytes.
  channel.EchoCopies(said);
}

TEST(ChannelCall, SaysEverythingThatItWasGiven) {
  ScriptedServer server([](ServedChannel& channel, const Descriptor& said) {
    std::vector<std::byte> text;
    const ChannelMessage message = channel.Read(said, &text);
    EXPECT_EQ(message.model, "digits");
    EXPECT_EQ(message.version, "3");
    EXPECT_EQ(message.id, "grüße");
    EXPECT_EQ(message.wanted, (std::vector<std::string_view>{"label", "scores"}));
    EXPECT_EQ(message.tensors.size(), 3u);
    EXPECT_EQ(message.tensors.at(0).shape, Shape({2, 3}));
    EXPECT_EQ(message.tensors.at(0).bytes, 24u);
    EXPECT_EQ(message.tensors.at(1).type, DataType::kBytes);
    EXPECT_EQ(message.tensors.at(2).bytes, 0u);
    for (const ChannelTensor& tensor : message.tensors) EXPECT_EQ(tensor.offset % 64, 0u);
    EXPECT_EQ(said.deadline_ns, 12345);
    channel.End(said.request, Code::kOk);
  });
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  const std::shared_ptr<ChannelCall> call = *client->NewCall("digits", "3", "grüße");
  EXPECT_EQ(call->AddInput("image", DataType::kFp32, Shape({2, 3}))->bytes.size(), 24u);
  EXPECT_EQ(call->AddInput("text", DataType::kBytes, Shape({1}), 11)->bytes.size(), 11u);
  EXPECT_EQ(call->AddInput("none", DataType::kInt64, Shape({0, 7}))->bytes.size(), 0u);
  EXPECT_TRUE(call->Want("label").ok());
  EXPECT_TRUE(call->Want("scores").ok());
  ASSERT_TRUE(call->Send(12345).ok());
  EXPECT_TRUE(IsOver(*call));
}

TEST(ChannelCall, MayBeSentAgainWithOtherBytes) {
  ScriptedServer server(&Echo);
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  const std::shared_ptr<ChannelCall> call = *client->NewCall("m", "", "");
  const std::span<std::byte> bytes = call->AddInput("x", DataType::kUint8, Shape({4}))->bytes;
  const size_t in_use = client->bytes_in_use();
  std::vector<ChannelResponse> responses;
  for (const char* text : {"one.", "two.", "six."}) {
    std::memcpy(bytes.data(), text, 4);
    ASSERT_TRUE(call->Send(kNever).ok());
    responses.push_back(NextOf(*call));
    EXPECT_EQ(TextOf(responses.back().outputs.at(0).bytes), text);
  }
  EXPECT_EQ(TextOf(responses[0].outputs[0].bytes), "one.");  // A copy.
  EXPECT_EQ(client->bytes_in_use(), in_use + 1024);          // And the message.
}

TEST(ChannelCall, AnOutputThatIsAnInputKeepsItsBlock) {
  ScriptedServer server(&Echo);
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "mine");
  ASSERT_TRUE(call->Send(kNever - 1).ok());
  ChannelResponse response = NextOf(*call);
  EXPECT_TRUE(server.HasReleased(1));  // Nothing but the message lay there.
  // A new input of that name gets other bytes, because these have another owner.
  const Result<ChannelBytes> other = call->AddInput("x", DataType::kUint8, Shape({4}));
  ASSERT_TRUE(other.ok());
  EXPECT_NE(other->bytes.data(), response.outputs.at(0).bytes.data());
  call.reset();
  EXPECT_GT(client->bytes_in_use(), 0u);
  EXPECT_EQ(TextOf(response.outputs.at(0).bytes), "mine");
  response.outputs.clear();
  EXPECT_EQ(client->bytes_in_use(), 1024u);  // Of `other`.
}

TEST(ChannelCall, AnInputIsReplaced) {
  ScriptedServer server(&Echo);
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "before");
  const std::byte* first = nullptr;
  for (const char* text : {"after", "other"}) {
    const Result<ChannelBytes> input = call->AddInput("x", DataType::kInt8, Shape({5}));
    ASSERT_TRUE(input.ok());
    std::memcpy(input->bytes.data(), text, 5);
    EXPECT_TRUE(first == nullptr || first == input->bytes.data());  // Nobody else has the block.
    first = input->bytes.data();
    ASSERT_TRUE(call->Send(kNever).ok());
    const ChannelResponse response = NextOf(*call);
    ASSERT_EQ(response.outputs.size(), 1u);
    EXPECT_EQ(response.message.tensors[0].type, DataType::kInt8);
    EXPECT_EQ(TextOf(response.outputs[0].bytes), text);
  }
}

TEST(ChannelCall, CannotBeChangedWhileItIsUnderWay) {
  ScriptedServer server([](ServedChannel&, const Descriptor&) {});
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "x");
  ASSERT_TRUE(call->Send(kNever).ok());
  EXPECT_EQ(call->AddInput("y", DataType::kBool, Shape({1})).status().code(),
            Code::kFailedPrecondition);
  EXPECT_EQ(call->Want("y").code(), Code::kFailedPrecondition);
}

TEST(ChannelCall, WhatNoMessageCanSayIsRefused) {
  ScriptedServer server(&Echo);
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  const std::string long_text(ChannelMessage::kTextBytesMax + 1, 'x');
  for (const auto& [model, version, id] : {std::tuple(long_text, std::string(), std::string()),
                                           {"m", long_text, ""},
                                           {"m", "", long_text}}) {
    EXPECT_EQ(client->NewCall(model, version, id).status().code(), Code::kInvalidArgument);
  }
  const std::shared_ptr<ChannelCall> call = *client->NewCall("m", "", "");
  const auto error = [&](auto... arguments) { return call->AddInput(arguments...).status(); };
  EXPECT_EQ(error(long_text, DataType::kBool, Shape({1})).code(), Code::kInvalidArgument);
  EXPECT_EQ(error("x", DataType::kBool, Shape({-1})).code(), Code::kInvalidArgument);
  EXPECT_EQ(error("x", DataType::kFp64, Shape({INT64_MAX})).code(), Code::kInvalidArgument);
  EXPECT_EQ(error("x", DataType::kFp64, Shape({INT64_MAX, 2})).code(), Code::kInvalidArgument);
  EXPECT_EQ(error("x", DataType::kBytes, Shape({1})).code(), Code::kInvalidArgument);
  EXPECT_EQ(error("x", DataType::kFp32, Shape({1}), size_t{5}).code(), Code::kInvalidArgument);
  EXPECT_EQ(call->Want(long_text).code(), Code::kInvalidArgument);
  for (size_t i = 0; i < ChannelMessage::kTensorsMax; ++i) {
    ASSERT_TRUE(call->AddInput(std::to_string(i), DataType::kBool, Shape({1})).ok());
    ASSERT_TRUE(call->Want(std::to_string(i)).ok());
  }
  EXPECT_EQ(error("x", DataType::kBool, Shape({1})).code(), Code::kInvalidArgument);
  EXPECT_EQ(call->Want("x").code(), Code::kInvalidArgument);
  ASSERT_TRUE(call->Send(kNever).ok());
  EXPECT_EQ(NextOf(*call).outputs.size(), ChannelMessage::kTensorsMax);
}

TEST(ChannelCall, TellsWhenTheSegmentIsFull) {
  ScriptedServer server(&Echo);
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "");
  const Status status =
      call->AddInput("big", DataType::kUint8, Shape({int64_t{kTestSegmentBytes}})).status();
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
  EXPECT_NE(status.message().find("larger segment"), std::string::npos);
  // What is left is of use still.
  std::vector<std::shared_ptr<ChannelCall>> all;
  while (true) {
    all.push_back(*client->NewCall("m", "", ""));
    if (!all.back()->AddInput("x", DataType::kUint8, Shape({100'000})).ok()) break;
  }
  EXPECT_EQ(all.back()->Send(kNever).code(), Code::kOk);
  all.pop_back();
  EXPECT_GE(all.size(), 8u);
  all.pop_back();
  EXPECT_TRUE(call->AddInput("x", DataType::kUint8, Shape({100'000})).ok());
}

TEST(ChannelCall, TakesTheRoomOfCallsThatEndedUnseen) {
  ScriptedServer server(&Echo);
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  for (int i = 0; i < 100; ++i) {
    const std::shared_ptr<ChannelCall> dropped = *client->NewCall("m", "", "");
    Result<ChannelBytes> input =
        dropped->AddInput("x", DataType::kUint8, Shape({int64_t{1} << 20}));
    // The server may be at it still.
    EXPECT_TRUE(ScriptedServer::Becomes([&] {
      if (!input.ok()) input = dropped->AddInput("x", DataType::kUint8, Shape({int64_t{1} << 20}));
      return input.ok();
    }));
    ASSERT_TRUE(dropped->Send(kNever - 1).ok());
  }
}

TEST(ChannelCall, ToSendItAgainDropsWhatNobodyTook) {
  ScriptedServer server(&Echo);
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "x");
  for (int i = 1; i <= 3; ++i) {
    ASSERT_TRUE(call->Send(kNever).ok());
    EXPECT_TRUE(ScriptedServer::Becomes([&] {
      client->TakeReady();  // Somebody who looks.
      return !call->is_under_way();
    }));
  }
  NextOf(*call);
  EXPECT_TRUE(IsOver(*call));
  EXPECT_TRUE(server.HasReleased(3));
}

}  // namespace
}  // namespace fastserve
