#include "serving/servable.h"

#include <gtest/gtest.h>

#include "serving/keeping_sink.h"

namespace fastserve {
namespace {

RequestPtr Bound(const Servable& servable, KeepingSink& sink, int id, Shape shape,
                 const std::vector<float>& values) {
  auto* request = new TestRequest;
  request->id = id;
  request->sink = &sink;
  NamedInput input = Named("x", Floats(shape, values));
  const Status status = servable.Bind(std::span(&input, 1), request);
  EXPECT_TRUE(status.ok()) << status.message();
  return RequestPtr(request);
}

TEST(Servable, AnswersOnItsThreadWhenNothingIsKnownOfTheCost) {
  KeepingSink sink;
  const auto servable = Serve(FloatBackend(), UpTo(8));
  servable->Submit(Bound(*servable, sink, 0, {1, 2}, {1, 2}));
  EXPECT_EQ(servable->RunHere(kSecond), 0);
  sink.WaitFor(1);
  EXPECT_TRUE(sink[0].status.ok());
  EXPECT_EQ(sink.FloatsOf(0), (std::vector<float>{2, 3}));
  EXPECT_EQ(servable->stats().caller_runs.value(), 0u);
  EXPECT_EQ(servable->stats().success.value(), 1u);
}

TEST(Servable, RunsOnTheCallersThreadWhatIsKnownToBeShort) {
  KeepingSink sink;
  const auto servable = Serve(FloatBackend(), UpTo(8));
  servable->WarmUp();
  EXPECT_EQ(servable->stats().executions.value(), 0u);
  for (int id = 0; id < 3; ++id) {
    servable->Submit(Bound(*servable, sink, id, {1, 2}, {float(id), 2}));
  }
  EXPECT_EQ(servable->queue_depth(), 3u);
  EXPECT_GT(servable->RunHere(kSecond), 0);
  ASSERT_EQ(sink.ends(), 3u);
  EXPECT_EQ(servable->queue_depth(), 0u);
  for (size_t id = 0; id < 3; ++id) {
    EXPECT_EQ(sink.FloatsOf(id), (std::vector<float>{float(id) + 1, 3}));
    EXPECT_EQ(sink[id].batch_rows, 3);
    EXPECT_GT(sink[id].started_ns, 0);
    EXPECT_GE(sink[id].computed_ns, sink[id].started_ns);
  }
  EXPECT_EQ(servable->stats().executions.value(), 1u);
  EXPECT_EQ(servable->stats().caller_runs.value(), 1u);
  EXPECT_EQ(servable->stats().batch_rows[3].value(), 1u);
}

}  // namespace
}  // namespace fastserve
