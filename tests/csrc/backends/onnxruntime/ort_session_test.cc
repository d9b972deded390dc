#include "backends/onnxruntime/ort_session.h"

#include <gtest/gtest.h>

#include <fstream>

#include "backends/onnxruntime/served_model.h"

namespace fastserve {
namespace {

Status OpenError(const OnnxRuntimeOptions& options) {
  Result<std::unique_ptr<Backend>> opened = OpenOnnxRuntime(options);
  return opened.ok() ? Status() : opened.status();
}

bool Mentions(const Status& status, std::string_view words) {
  return status.message().find(words) != std::string::npos;
}

TEST(OrtSession, MissingModelIsNotFoundThatNamesIt) {
  FS_NEED_LIBRARY();
  const Status status = OpenError(OptionsFor("no_such_model"));
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_TRUE(Mentions(status, "no_such_model.onnx")) << status.message();
}

TEST(OrtSession, FolderInPlaceOfAModelIsInvalidArgument) {
  FS_NEED_LIBRARY();
  OnnxRuntimeOptions options = OptionsFor("");
  options.model_path = ModelPath("");
  EXPECT_EQ(OpenError(options).code(), Code::kInvalidArgument);
}

TEST(OrtSession, BrokenModelIsInvalidArgumentWithTheEnginesSentence) {
  FS_NEED_LIBRARY();
  OnnxRuntimeOptions options = OptionsFor("");
  options.model_path = ::testing::TempDir() + "/broken.onnx";
  std::ofstream(options.model_path) << "this is no model";
  const Status status = OpenError(options);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_TRUE(Mentions(status, "broken.onnx")) << status.message();
  EXPECT_TRUE(Mentions(status, "rotobuf")) << status.message();
}

TEST(OrtSession, UnknownProviderIsFailedPreconditionThatListsThoseThere) {
  FS_NEED_LIBRARY();
  OnnxRuntimeOptions options = OptionsFor("add_mul");
  options.providers = {{.name = "QuantumExecutionProvider", .options = {}}};
  const Status status = OpenError(options);
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_TRUE(Mentions(status, "QuantumExecutionProvider")) << status.message();
  EXPECT_TRUE(Mentions(status, "CPUExecutionProvider")) << status.message();
}

// On a machine without a GPU; both with an engine that knows the provider and with one that
// does not.
TEST(OrtSession, GpuProviderWithoutAGpuIsAnErrorAndNoCrash) {
  FS_NEED_LIBRARY();
  if (std::filesystem::exists("/dev/nvidiactl")) GTEST_SKIP() << "this machine has a GPU";
  for (const char* name : {"CUDAExecutionProvider", "TensorrtExecutionProvider"}) {
    OnnxRuntimeOptions options = OptionsFor("add_mul");
    options.providers = {{.name = name, .options = {{"device_id", "0"}}}};
    const Status status = OpenError(options);
    EXPECT_EQ(status.code(), Code::kFailedPrecondition) << name;
    EXPECT_TRUE(Mentions(status, name)) << status.message();
  }
}

TEST(OrtSession, CpuProviderCanBeNamed) {
  FS_NEED_LIBRARY();
  OnnxRuntimeOptions options = OptionsFor("add_mul");
  options.providers = {{.name = "CPUExecutionProvider", .options = {}}};
  EXPECT_TRUE(OpenError(options).ok());
}

// The CPU wheel brings one provider besides the CPU, taken through the generic slot.
TEST(OrtSession, ProviderOfTheGenericSlotIsTaken) {
  FS_NEED_LIBRARY();
  OnnxRuntimeOptions options = OptionsFor("add_mul");
  options.providers = {{.name = "AzureExecutionProvider", .options = {{"any", "thing"}}}};
  const Status status = OpenError(options);
  EXPECT_TRUE(status.ok() || Mentions(status, "not in this build")) << status.message();
}

TEST(OrtSession, OptionsOutOfRangeAreInvalidArgument) {
  FS_NEED_LIBRARY();
  OnnxRuntimeOptions options = OptionsFor("add_mul");
  options.optimization = "most";
  EXPECT_TRUE(Mentions(OpenError(options), "'most'"));
  options = OptionsFor("add_mul");
  options.intra_op_threads = -1;
  EXPECT_EQ(OpenError(options).code(), Code::kInvalidArgument);
  options = OptionsFor("add_mul");
  options.log_severity = 5;
  EXPECT_EQ(OpenError(options).code(), Code::kInvalidArgument);
  options = OptionsFor("add_mul");
  options.session_config = {{"", "x"}};
  EXPECT_EQ(OpenError(options).code(), Code::kInvalidArgument);
}

TEST(OrtSession, EachOptionIsTakenAndTheModelStillAnswers) {
  FS_NEED_LIBRARY();
  for (const char* level : {"none", "basic", "extended", "all"}) {
    OnnxRuntimeOptions options = OptionsFor("add_mul");
    options.optimization = level;
    options.intra_op_threads = 2;
    options.inter_op_threads = 2;
    options.spinning = true;
    options.arena = false;
    options.log_severity = 3;
    options.session_config = {{"session.set_denormal_as_zero", "1"}};
    ServedModel model(options);
    ASSERT_TRUE(model.Run({Floats({1, 4}, {1, 2, 3, 4}), Floats({1, 4}, {2, 2, 2, 2})}).ok());
    EXPECT_EQ(model.sink.answers[1].As<float>(), (std::vector<float>{2, 4, 6, 8}));
  }
}

// The entry makes the engine read the file as another format, which it is not.
TEST(OrtSession, SessionConfigReachesTheEngine) {
  FS_NEED_LIBRARY();
  OnnxRuntimeOptions options = OptionsFor("add_mul");
  options.session_config = {{"session.load_model_format", "ORT"}};
  EXPECT_EQ(OpenError(options).code(), Code::kInvalidArgument);
}

size_t ThreadCount() {
  const std::filesystem::directory_iterator threads("/proc/self/task");
  return static_cast<size_t>(std::distance(begin(threads), end(threads)));
}

TEST(OrtSession, ThreadsAreStartedOnlyWhenAskedFor) {
  FS_NEED_LIBRARY();
  ServedModel first("add_mul");  // The library starts a thread of its own when it is first used.
  const size_t before = ThreadCount();
  ServedModel quiet("add_mul");
  EXPECT_EQ(ThreadCount(), before);
  OnnxRuntimeOptions options = OptionsFor("add_mul");
  options.intra_op_threads = 3;
  ServedModel busy(options);
  EXPECT_EQ(ThreadCount(), before + 2);  // The caller of Run is the third.
  options.inter_op_threads = 2;
  ServedModel busier(options);
  EXPECT_GT(ThreadCount(), before + 4);
}

TEST(OrtSession, SignatureHasNamesTypesShapesAndSymbols) {
  FS_NEED_LIBRARY();
  ServedModel model("add_mul");
  const Signature& signature = model.backend->signature();
  EXPECT_EQ(signature.platform, "onnxruntime_onnx");
  ASSERT_EQ(signature.inputs.size(), 2u);
  ASSERT_EQ(signature.outputs.size(), 2u);
  EXPECT_EQ(signature.inputs[0].name, "a");
  EXPECT_EQ(signature.inputs[1].name, "b");
  EXPECT_EQ(signature.outputs[0].name, "sum");
  EXPECT_EQ(signature.outputs[1].name, "product");
  EXPECT_EQ(signature.inputs[0].type, DataType::kFp32);
  EXPECT_EQ(signature.inputs[0].shape, Shape({-1, 4}));
  EXPECT_EQ(signature.inputs[0].dim_names, (std::vector<std::string>{"batch", ""}));
  EXPECT_FALSE(signature.inputs[0].optional);
}

TEST(OrtSession, ScalarHasRankZeroInTheSignature) {
  FS_NEED_LIBRARY();
  ServedModel model("scalar");
  EXPECT_EQ(model.backend->signature().inputs[0].shape, Shape());
  EXPECT_TRUE(model.backend->signature().inputs[0].dim_names.empty());
}

TEST(OrtSession, InputWithAnInitialiserIsOptionalAndComesLast) {
  FS_NEED_LIBRARY();
  ServedModel model("optional_input");
  const std::vector<TensorSpec>& inputs = model.backend->signature().inputs;
  ASSERT_EQ(inputs.size(), 2u);
  EXPECT_EQ(inputs[0].name, "x");
  EXPECT_FALSE(inputs[0].optional);
  EXPECT_EQ(inputs[1].name, "factor");
  EXPECT_EQ(inputs[1].shape, Shape({1}));
  EXPECT_TRUE(inputs[1].optional);
}

TEST(OrtSession, TensorThatCannotBeServedIsInvalidArgumentThatNamesIt) {
  FS_NEED_LIBRARY();
  const std::map<std::string, std::vector<std::string>> words = {
      {"sequence_output", {"output 'parts'", "a sequence"}},
      {"float8_output", {"output 'narrow'", "float8e4m3fn"}},
      {"rank_13", {"input 'x'", "13 dimensions"}},
  };
  for (const auto& [model, expected] : words) {
    const Status status = OpenError(OptionsFor(model));
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << model;
    for (const std::string& word : expected) {
      EXPECT_TRUE(Mentions(status, word)) << status.message();
    }
  }
}

TEST(OrtSession, ExternalDataBesideTheModelIsFound) {
  FS_NEED_LIBRARY();
  ServedModel model("external_data");
  ASSERT_TRUE(model.Run({Floats({1, 8}, {1, 1, 1, 1, 1, 1, 1, 2})}).ok());
  EXPECT_EQ(model.sink.answers[0].As<float>(), (std::vector<float>{0, 1, 2, 3, 4, 5, 6, 14}));
}

TEST(OrtSession, MissingExternalDataIsAnErrorThatNamesTheFile) {
  FS_NEED_LIBRARY();
  OnnxRuntimeOptions options = OptionsFor("external_data");
  const std::string alone = ::testing::TempDir() + "/external_data_alone.onnx";
  std::filesystem::copy_file(options.model_path, alone,
                             std::filesystem::copy_options::overwrite_existing);
  options.model_path = alone;
  const Status status = OpenError(options);
  EXPECT_FALSE(status.ok());
  EXPECT_TRUE(Mentions(status, "external_data.bin")) << status.message();
}

}  // namespace
}  // namespace fastserve
