#include "protocol/infer_body.h"

#include <gtest/gtest.h>

#include "base/status.h"

namespace fastserve {
namespace {

TEST(TensorLabel, IsTheNameOrThePlaceOfWhatHasNone) {
  EXPECT_EQ(StrCat(TensorLabel{"tensor", "inputs", 2, "x"}), "tensor 'x'");
  EXPECT_EQ(StrCat(TensorLabel{"output", "outputs", 2, ""}), "outputs[2]");
}

}  // namespace
}  // namespace fastserve
