#include "backends/onnxruntime/ort_api.h"

#include <gtest/gtest.h>

#include <cctype>
#include <string>
#include <thread>
#include <vector>

#include "backends/onnxruntime/served_model.h"

namespace fastserve::ort {
namespace {

TEST(OrtApi, MissingLibraryIsFailedPreconditionThatSaysHowToInstall) {
  const Result<const OrtLibrary*> library = OpenOrtLibrary("/no/such/libonnxruntime.so.1");
  ASSERT_FALSE(library.ok());
  EXPECT_EQ(library.status().code(), Code::kFailedPrecondition);
  EXPECT_NE(library.status().message().find("/no/such/libonnxruntime.so.1"), std::string::npos);
  EXPECT_NE(library.status().message().find("pip install"), std::string::npos);
}

// libm is a library on every machine, and never ONNX Runtime's.
TEST(OrtApi, LibraryWithoutTheSymbolIsFailedPreconditionThatNamesIt) {
  const Result<const OrtLibrary*> library = OpenOrtLibrary("libm.so.6");
  ASSERT_FALSE(library.ok());
  EXPECT_EQ(library.status().code(), Code::kFailedPrecondition);
  EXPECT_NE(library.status().message().find("OrtGetApiBase"), std::string::npos);
}

// An engine from before 1.17 answers no table for the version that this room needs.
TEST(OrtApi, TooOldEngineIsFailedPreconditionThatSaysBothVersions) {
  const OrtApiBase old = {
      [](uint32_t version) -> const void* const* {
        EXPECT_EQ(version, kOrtApiVersion);
        return nullptr;
      },
      []() -> const char* { return "1.15.1"; },
  };
  const Result<OrtApi> api = BindOrtApi(old);
  ASSERT_FALSE(api.ok());
  EXPECT_EQ(api.status().code(), Code::kFailedPrecondition);
  EXPECT_NE(api.status().message().find("1.15.1"), std::string::npos);
  EXPECT_NE(api.status().message().find("1.17"), std::string::npos);
  EXPECT_NE(api.status().message().find("pip install"), std::string::npos);
}

TEST(OrtApi, LibraryIsOpenedOnceForAPathWhateverTheThread) {
  FS_NEED_LIBRARY();
  std::vector<const OrtLibrary*> opened(4);
  {
    std::vector<std::jthread> threads;
    for (const OrtLibrary*& library : opened) {
      threads.emplace_back([&library] { library = *OpenOrtLibrary(LibraryPath()); });
    }
  }
  for (const OrtLibrary* library : opened) EXPECT_EQ(library, opened[0]);
  EXPECT_EQ(opened[0]->version.substr(0, 2), "1.");
  EXPECT_NE(opened[0]->env, nullptr);
}

TEST(OrtApi, ErrorCarriesTheEnginesSentence) {
  FS_NEED_LIBRARY();
  const OrtLibrary& library = **OpenOrtLibrary(LibraryPath());
  OrtValue* value = nullptr;
  const int64_t dims[] = {2};
  float one = 1;
  const Status status = library.api.Take(
      library.api.CreateTensorWithDataAsOrtValue(library.cpu_memory, &one, sizeof one, dims, 1,
                                                 /*type=*/1, &value),
      Code::kInternal, "wrapping");
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_EQ(status.message().find("wrapping: "), 0u);
  EXPECT_NE(status.message().find("not enough"), std::string::npos) << status.message();
}

// Whether a call succeeded, or failed with a sentence about that provider.
void ExpectOkOrAbout(std::string_view provider, const Status& status) {
  std::string message = status.message();
  for (char& letter : message) letter = static_cast<char>(std::tolower(letter));
  EXPECT_TRUE(status.ok() || message.find(provider) != std::string::npos) << status.message();
}

// What the slots of one provider are called, and the provider in lower case.
struct ProviderSlots {
  std::string_view provider;
  OrtStatus* (*create)(OrtProviderOptions**);
  OrtStatus* (*update)(OrtProviderOptions*, const char* const*, const char* const*, size_t);
  OrtStatus* (*append)(OrtSessionOptions*, const OrtProviderOptions*);
  void (*release)(OrtProviderOptions*);
};

// A build without these providers answers each of their slots with an error that names the
// provider, a build with them may succeed. A wrong slot would do neither.
TEST(OrtApi, SlotsOfGpuProvidersAnswerOnAnyBuild) {
  FS_NEED_LIBRARY();
  const OrtApi& api = (*OpenOrtLibrary(LibraryPath()))->api;
  const auto take = [&api](OrtStatus* error) { return api.Take(error, Code::kInternal, ""); };
  const char* key[] = {"device_id"};
  const char* value[] = {"0"};
  const ProviderSlots all[] = {
      {"cuda", api.CreateCUDAProviderOptions, api.UpdateCUDAProviderOptions,
       api.SessionOptionsAppendExecutionProvider_CUDA_V2, api.ReleaseCUDAProviderOptions},
      {"tensorrt", api.CreateTensorRTProviderOptions, api.UpdateTensorRTProviderOptions,
       api.SessionOptionsAppendExecutionProvider_TensorRT_V2, api.ReleaseTensorRTProviderOptions},
  };
  OrtSessionOptions* session_options = nullptr;
  ASSERT_TRUE(take(api.CreateSessionOptions(&session_options)).ok());
  for (const ProviderSlots& slots : all) {
    OrtProviderOptions* made = nullptr;
    ExpectOkOrAbout(slots.provider, take(slots.create(&made)));
    ExpectOkOrAbout(slots.provider, take(slots.update(made, key, value, 1)));
    // Append reads the options before it says that the provider is not there.
    if (made != nullptr) ExpectOkOrAbout(slots.provider, take(slots.append(session_options, made)));
    slots.release(made);
  }
  api.ReleaseSessionOptions(session_options);
}

}  // namespace
}  // namespace fastserve::ort
