// What Gateway::Debug tells of what is in flight.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "gateway/fake_loop.h"

namespace fastserve {
namespace {

TEST(GatewayDebug, TellsWhatIsInFlightAndWhereItStands) {
  const auto gate = std::make_shared<Gate>();
  FakeLoop loop;
  ServableOptions served = Named("m", 8, 3);
  served.caller_runs = false;
  loop.map->Publish(Serve(GatedBackend(gate), served));
  loop.Connect().Feed(
      Post("/v2/models/m/infer", FloatsJson(1, "me"), "Inference-Timeout-Ms: 60000\r\n"));
  loop.Iterate();
  gate->AwaitWaiting(1);
  loop.Connect(NowNanos(), {"2001:db8::1", 7}).Feed(Get("/x"));
  loop.Connect(NowNanos(), {"unix"})
      .Feed("POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
  loop.Connect();
  loop.Connect().Feed("GET /");
  loop.Connect().Feed("NONSENSE\r\n\r\n");
  const Nanos now = NowNanos();
  const DebugSnapshot snapshot = loop.gateway->Debug(100, now);
  ASSERT_EQ(snapshot.in_flight.size(), 3u);
  const InFlightRequest& model = snapshot.in_flight[0];
  EXPECT_EQ(model.model, "m");
  EXPECT_EQ(model.version, "3");
  EXPECT_EQ(model.id, "me");
  EXPECT_EQ(model.peer, "192.0.2.1:5");
  EXPECT_EQ(model.phase, "model");
  EXPECT_EQ(model.body_bytes, FloatsJson(1, "me").size());
  EXPECT_GT(model.age, 0);
  EXPECT_LT(model.deadline_ns - now, 60 * kSecond);
  const InFlightRequest& control = snapshot.in_flight[1];
  EXPECT_EQ(control.model, "");
  EXPECT_EQ(control.peer, "2001:db8::1:7");
  EXPECT_EQ(control.phase, "control");
  EXPECT_EQ(control.deadline_ns, kNever);
  const InFlightRequest& receiving = snapshot.in_flight[2];
  EXPECT_EQ(receiving.model, "m");
  EXPECT_EQ(receiving.peer, "unix");
  EXPECT_EQ(receiving.phase, "receive");
  EXPECT_EQ(receiving.body_bytes, 3u);
  for (size_t i = 0; i < kConnectionStateNames.size(); ++i) {
    const std::string_view name = kConnectionStateNames[i];
    EXPECT_EQ(snapshot.connections_by_state[i], name == "busy"     ? 2u
                                                : name == "closed" ? 0u
                                                                   : 1u)
        << name;
  }
  EXPECT_EQ(snapshot.abandoned, 0u);
  // The oldest ones, if not all are wanted.
  const DebugSnapshot oldest = loop.gateway->Debug(1, now);
  ASSERT_EQ(oldest.in_flight.size(), 1u);
  EXPECT_EQ(oldest.in_flight[0].id, "me");
  EXPECT_TRUE(loop.gateway->Debug(0, now).in_flight.empty());
  loop.sockets[0]->Lose();
  EXPECT_EQ(loop.gateway->Debug(100, now).abandoned, 1u);
  EXPECT_EQ(loop.gateway->Debug(100, now).in_flight.size(), 2u);
  gate->Open();
  loop.RunUntilIdle();
  EXPECT_EQ(loop.gateway->Debug(100, now).abandoned, 0u);
}

}  // namespace
}  // namespace fastserve
