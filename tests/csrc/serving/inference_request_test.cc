#include "serving/inference_request.h"

#include <gtest/gtest.h>

#include <utility>

#include "serving/keeping_sink.h"

namespace fastserve {
namespace {

TEST(InferenceRequest, EndsWithCancelledWhenItIsDropped) {
  KeepingSink sink;
  {
    const RequestPtr dropped = sink.FloatRequest(0, 1, 0);
  }
  EXPECT_EQ(sink[0].ends, 1);
  EXPECT_EQ(sink[0].status.code(), Code::kCancelled);
}

TEST(InferenceRequest, IsAsNewAfterClearAndLetsGoOfItsInputs) {
  InferenceRequest request;
  const BatchInput input = Floats({1, 2}, {1, 2});
  request.inputs.push_back(input);
  request.rows = 7;
  request.join_key = 7;
  request.deadline_ns = 7;
  request.submitted_ns = request.started_ns = 7;
  request.staged_ns = request.computed_ns = 7;
  request.cancelled.store(true, std::memory_order_relaxed);
  const size_t capacity = request.inputs.capacity();
  request.Clear();
  EXPECT_TRUE(input.owner->has_one_owner());
  EXPECT_TRUE(request.inputs.empty());
  EXPECT_EQ(request.inputs.capacity(), capacity);
  EXPECT_EQ(request.rows, 1);
  EXPECT_EQ(request.join_key, 0u);
  EXPECT_EQ(request.deadline_ns, kNever);
  EXPECT_EQ(request.submitted_ns + request.started_ns + request.staged_ns + request.computed_ns, 0);
  EXPECT_FALSE(request.cancelled.load(std::memory_order_relaxed));
}

TEST(RequestList, GivesBackInOrderWhatWasPutIn) {
  KeepingSink sink;
  RequestList list;
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.Pop(), nullptr);
  for (int round = 0; round < 2; ++round) {
    for (int id = 0; id < 3; ++id) list.Push(sink.FloatRequest(3 * round + id, 1, 0));
    for (int id = 0; id < 3; ++id) {
      EXPECT_FALSE(list.empty());
      const RequestPtr popped = list.Pop();
      EXPECT_EQ(static_cast<TestRequest&>(*popped).id, 3 * round + id);
    }
    EXPECT_TRUE(list.empty());
  }
}

TEST(RequestList, EndsWhatIsLeftInIt) {
  KeepingSink sink;
  {
    RequestList list;
    list.Push(sink.FloatRequest(0, 1, 0));
    list.Push(sink.FloatRequest(1, 1, 0));
  }
  EXPECT_EQ(sink.ends(), 2u);
  EXPECT_EQ(sink[1].status.code(), Code::kCancelled);
}

}  // namespace
}  // namespace fastserve
