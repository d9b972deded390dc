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
  request.submitted_ns = request.started_ns = request.computed_ns = 7;
  request.cancelled.store(true, std::memory_order_relaxed);
  const size_t capacity = request.inputs.capacity();
  request.Clear();
  EXPECT_TRUE(input.owner->has_one_owner());
  EXPECT_TRUE(request.inputs.empty());
  EXPECT_EQ(request.inputs.capacity(), capacity);
  EXPECT_EQ(request.rows, 1);
  EXPECT_EQ(request.join_key, 0u);
  EXPECT_EQ(request.deadline_ns, kNever);
  EXPECT_EQ(request.submitted_ns + request.started_ns + request.computed_ns, 0);
  EXPECT_FALSE(request.cancelled.load(std::memory_order_relaxed));
}

}  // namespace
}  // namespace fastserve
