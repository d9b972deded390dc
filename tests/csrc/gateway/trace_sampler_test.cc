#include "gateway/trace_sampler.h"

#include "gateway/http2/http2_fixture.h"

namespace fastserve {
namespace {

using proto::FloatsRequest;

int Taken(TraceSampler& sampler, std::string_view model, int times) {
  int taken = 0;
  for (int i = 0; i < times; ++i) taken += sampler.Take(model) ? 1 : 0;
  return taken;
}

TEST(TraceSampler, TakesNothingUntilItIsToldTo) {
  TraceSampler sampler;
  EXPECT_FALSE(sampler.is_on());
  EXPECT_EQ(Taken(sampler, "m", 5000), 0);
}

TEST(TraceSampler, TakesOneOfSoManyOverAllModels) {
  TraceSampler sampler;
  sampler.Set({.of_all = 10});
  EXPECT_TRUE(sampler.is_on());
  EXPECT_EQ(Taken(sampler, "a", 9), 0);
  EXPECT_EQ(Taken(sampler, "b", 1), 1);
  EXPECT_EQ(Taken(sampler, "a", 100), 10);
}

TEST(TraceSampler, AModelMayHaveARateOfItsOwn) {
  TraceSampler sampler;
  sampler.Set({.of_all = 4, .of_models = {{"often", 1}, {"never", 0}}});
  EXPECT_EQ(Taken(sampler, "often", 7), 7);
  EXPECT_EQ(Taken(sampler, "never", 100), 0);
  EXPECT_EQ(Taken(sampler, "other", 8), 2);
  sampler.Set({.of_all = 0, .of_models = {{"never", 0}}});
  EXPECT_FALSE(sampler.is_on());
}

class TraceSamplerOfGateway : public Http2Gateway {
 protected:
  std::deque<AccessRecord> Take() { return loop_.gateway->trace_log().Take(); }
};

// Whatever it came over, the record says where the time of that one inference went.
TEST_F(TraceSamplerOfGateway, ChosenInferencesAreRecordedWithTheirPhases) {
  loop_.gateway->trace_sampler().Set({.of_all = 2});
  FakeSocket& http1 = loop_.Connect();
  for (int i = 0; i < 4; ++i) {
    http1.Feed(PostFloats(1, std::to_string(i)));
    loop_.RunUntilIdle();
  }
  http1.Lose();
  std::deque<AccessRecord> records = Take();
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].id, "1");
  EXPECT_EQ(records[1].id, "3");
  EXPECT_EQ(records[1].path, "/v2/models/m/infer");
  for (int i = 0; i < 2; ++i) Ask(PostFields("/v2/models/m/infer"), FloatsJson(7, "h2"));
  for (int i = 0; i < 2; ++i) Infer(FloatsRequest(1, "rpc"));
  const int32_t stream = client_.Request(GrpcFields(kStreamInfer), "", /*goes_on=*/true);
  for (int i = 0; i < 4; ++i) client_.Send(stream, Grpc(FloatsRequest(1, std::to_string(i))));
  client_.End(stream);
  Talk();
  for (AccessRecord& record : Take()) records.push_back(std::move(record));
  ASSERT_EQ(records.size(), 6u);
  EXPECT_EQ(records[2].id, "h2");
  EXPECT_EQ(records[3].path, kInfer);
  EXPECT_EQ(records[4].path, kStreamInfer);
  EXPECT_EQ(records[5].id, "3");
  for (const AccessRecord& record : records) {
    EXPECT_EQ(record.model, "m");
    EXPECT_GE(record.batch_rows, 1);  // Those of a stream may share a batch.
    EXPECT_GT(record.time_ns, 0);
    EXPECT_GT(record.run, 0);
    EXPECT_LE(
        record.receive + record.queue + record.stage + record.run + record.finish + record.send,
        record.total);
  }
  EXPECT_TRUE(loop_.gateway->access_log().Take().empty());
}

TEST_F(TraceSamplerOfGateway, WhatFailsOrIsNoInference) {
  loop_.gateway->trace_sampler().Set({.of_all = 1});
  FakeSocket& http1 = loop_.Connect();
  http1.Feed(Post("/v2/models/m/infer", "{") + Post("/v2/models/none/infer", "{}"));
  loop_.RunUntilIdle();
  http1.Lose();
  Infer("no protobuf");
  const std::deque<AccessRecord> records = Take();
  ASSERT_EQ(records.size(), 1u);  // Of the others nobody knows a model.
  EXPECT_EQ(records[0].status, 400);
  EXPECT_EQ(records[0].batch_rows, 0);
}

TEST_F(TraceSamplerOfGateway, NobodyIsRecordedOnceItIsOff) {
  loop_.gateway->trace_sampler().Set({.of_all = 1});
  Infer(FloatsRequest(1, "a"));
  loop_.gateway->trace_sampler().Set({});
  Infer(FloatsRequest(1, "b"));
  const std::deque<AccessRecord> records = Take();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].id, "a");
}

}  // namespace
}  // namespace fastserve
