#include "channel/client/channel_client.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "channel/client/clients.h"
#include "channel/client/scripted_server.h"
#include "memory/lost_pages.h"

namespace fastserve {
namespace {

TEST(ChannelClient, IsAnsweredWithTheBytesThatItSent) {
  for (const bool copies : {false, true}) {
    ScriptedServer server([copies](ServedChannel& channel, const Descriptor& said) {
      copies ? channel.EchoCopies(said) : channel.EchoInputs(said);
    });
    const std::shared_ptr<ChannelClient> client = ConnectTo(server);
    ASSERT_NE(client, nullptr);
    EXPECT_EQ(client->server_pid(), getpid());
    EXPECT_EQ(client->segment_bytes(), kTestSegmentBytes);
    const std::shared_ptr<ChannelCall> call = NewCall(*client, "digits", "some bytes");
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(call->Send(kNever).ok());
      const ChannelResponse response = NextOf(*call);
      EXPECT_EQ(response.message.model, "digits");
      ASSERT_EQ(response.outputs.size(), 1u);
      EXPECT_EQ(TextOf(response.outputs[0].bytes), "some bytes");
      EXPECT_TRUE(IsOver(*call));
    }
  }
}

}  // namespace
}  // namespace fastserve
