#include "backends/onnxruntime/onnxruntime_backend.h"

#include <gtest/gtest.h>

#include "backends/onnxruntime/served_model.h"

namespace fastserve {
namespace {

TEST(OnnxRuntimeBackend, MissingLibraryIsAnErrorOfTheLoad) {
  OnnxRuntimeOptions options = OptionsFor("add_mul");
  options.library_path = "/no/such/library.so";
  const Result<std::unique_ptr<Backend>> opened = OpenOnnxRuntime(options);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.status().code(), Code::kFailedPrecondition);
}

TEST(OnnxRuntimeBackend, InstanceOutlivesItsBackend) {
  FS_NEED_LIBRARY();
  ServedModel model("scalar");
  model.backend.reset();
  ASSERT_TRUE(model.Run({Floats({}, {4})}).ok());
  EXPECT_EQ(model.sink.answers[0].As<float>(), std::vector<float>{8});
}

TEST(OnnxRuntimeBackend, ModelsAreLoadedAndUnloadedSideBySide) {
  FS_NEED_LIBRARY();
  ServedModel steady("scalar");
  for (int round = 0; round < 5; ++round) {
    ServedModel passing("no_batch");
    ASSERT_TRUE(passing.Run({Floats({2}, {1, 2})}).ok());
    ASSERT_TRUE(steady.Run({Floats({}, {1})}).ok());
  }
  EXPECT_EQ(steady.sink.answers[0].As<float>(), std::vector<float>{2});
}

}  // namespace
}  // namespace fastserve
