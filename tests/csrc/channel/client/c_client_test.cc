// The C header, as a program in C uses it.
#include <gtest/gtest.h>
#include <poll.h>

#include <cstring>
#include <string>

#include "channel/client/scripted_server.h"
#include "fastserve/shm_client.h"

namespace fastserve {
namespace {

constexpr int64_t kLong_ns = 20'000'000'000;

// Echoes; describes a model with an input and an output; cancels when told.
void Act(ServedChannel& channel, const Descriptor& said) {
  if (said.kind == DescriptorKind::kCancel) return channel.End(said.request, Code::kCancelled);
  std::vector<std::byte> text;
  const ChannelMessage message = channel.Read(said, &text);
  if (message.model == "none") return channel.End(said.request, Code::kNotFound, "no such model");
  if (message.model == "silent") return;
  if (said.kind == DescriptorKind::kInfer) return channel.EchoCopies(said);
  if (said.kind == DescriptorKind::kStream) {
    channel.EchoCopies(said, DescriptorKind::kResponse);
    channel.EchoInputs(said, DescriptorKind::kResponse);
    return channel.End(said.request, Code::kOk);
  }
  ChannelMessage description = Named("digits", "7");
  description.max_batch_size = 8;
  description.tensors.push_back(
      {"image", DataType::kFp32, Shape({-1, 4}), 0, 0, ChannelTensor::kOptional});
  description.tensors.push_back(
      {"label", DataType::kInt64, Shape({-1}), 0, 0, ChannelTensor::kOutput});
  channel.Respond(said, description, DescriptorKind::kLast);
}

class CClient : public testing::Test {
 protected:
  void SetUp() override {
    fastserve_shm_options options = FASTSERVE_SHM_OPTIONS_INIT;
    options.segment_bytes = size_t{1} << 20;
    ASSERT_EQ(fastserve_shm_connect(server_.address().c_str(), &options, &client_), 0)
        << fastserve_shm_error();
  }
  void TearDown() override { fastserve_shm_close(client_); }

  fastserve_shm_request* NewRequest(const char* model) {
    fastserve_shm_request* request = nullptr;
    EXPECT_EQ(fastserve_shm_request_new(client_, model, nullptr, "id", &request), 0);
    return request;
  }
  void AddText(fastserve_shm_request* request, const char* name, std::string_view text) {
    const int64_t dims[] = {static_cast<int64_t>(text.size())};
    void* data = nullptr;
    size_t bytes = 0;
    ASSERT_EQ(
        fastserve_shm_request_input(request, name, FASTSERVE_SHM_UINT8, dims, 1, &data, &bytes), 0)
        << fastserve_shm_error();
    ASSERT_EQ(bytes, text.size());
    std::memcpy(data, text.data(), bytes);
  }
  static std::string TextOf(const fastserve_shm_tensor& tensor) {
    return {static_cast<const char*>(tensor.data), tensor.bytes};
  }

  ScriptedServer server_{&Act};
  fastserve_shm_client* client_ = nullptr;
};

TEST_F(CClient, SendsAndReceives) {
  fastserve_shm_request* const request = NewRequest("m");
  AddText(request, "x", "hello");
  const int64_t dims[] = {1};
  void* data = nullptr;
  ASSERT_EQ(fastserve_shm_request_input_bytes(request, "y", dims, 1, 7, &data), 0);
  std::memcpy(data, "\3\0\0\0abc", 7);
  ASSERT_EQ(fastserve_shm_request_want(request, "x"), 0);
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(fastserve_shm_request_send(request, -1), 0);
    fastserve_shm_response* response = nullptr;
    ASSERT_EQ(fastserve_shm_request_wait(request, kLong_ns, &response), 0) << fastserve_shm_error();
    ASSERT_NE(response, nullptr);
    EXPECT_STREQ(fastserve_shm_response_model(response), "m");
    EXPECT_STREQ(fastserve_shm_response_version(response), "");
    EXPECT_STREQ(fastserve_shm_response_id(response), "id");
    ASSERT_EQ(fastserve_shm_response_outputs(response), 2u);
    fastserve_shm_tensor tensor = FASTSERVE_SHM_TENSOR_INIT;
    ASSERT_EQ(fastserve_shm_response_output(response, 0, &tensor), 0);
    EXPECT_STREQ(tensor.name, "x");
    EXPECT_EQ(tensor.datatype, FASTSERVE_SHM_UINT8);
    ASSERT_EQ(tensor.rank, 1u);
    EXPECT_EQ(tensor.dims[0], 5);
    EXPECT_EQ(TextOf(tensor), "hello");
    ASSERT_EQ(fastserve_shm_response_find(response, "y", &tensor), 0);
    EXPECT_EQ(tensor.datatype, FASTSERVE_SHM_BYTES);
    EXPECT_EQ(tensor.bytes, 7u);
    EXPECT_EQ(fastserve_shm_response_output(response, 2, &tensor), FASTSERVE_SHM_OUT_OF_RANGE);
    EXPECT_EQ(fastserve_shm_response_find(response, "z", &tensor), FASTSERVE_SHM_NOT_FOUND);
    fastserve_shm_response_free(response);
    ASSERT_EQ(fastserve_shm_request_wait(request, kLong_ns, &response), 0);
    EXPECT_EQ(response, nullptr);
  }
  fastserve_shm_request_free(request);
}

TEST_F(CClient, ReceivesStreams) {
  fastserve_shm_request* const request = NewRequest("m");
  AddText(request, "x", "part");
  ASSERT_EQ(fastserve_shm_request_stream(request, kLong_ns), 0);
  std::vector<fastserve_shm_response*> responses;
  fastserve_shm_response* response = nullptr;
  while (fastserve_shm_request_wait(request, kLong_ns, &response) == 0 && response != nullptr) {
    responses.push_back(response);
  }
  EXPECT_EQ(response, nullptr);
  ASSERT_EQ(responses.size(), 2u);
  fastserve_shm_request_free(request);
  fastserve_shm_close(client_);
  client_ = nullptr;
  for (fastserve_shm_response* one : responses) {
    fastserve_shm_tensor tensor = FASTSERVE_SHM_TENSOR_INIT;
    EXPECT_EQ(fastserve_shm_response_output(one, 0, &tensor), 0);
    EXPECT_EQ(TextOf(tensor), "part");
    fastserve_shm_response_free(one);
  }
}

TEST_F(CClient, SaysWhatWentWrong) {
  fastserve_shm_request* const request = NewRequest("silent");
  fastserve_shm_response* response = nullptr;
  EXPECT_EQ(fastserve_shm_request_wait(request, 0, &response), FASTSERVE_SHM_FAILED_PRECONDITION);
  EXPECT_STREQ(fastserve_shm_error(), "the request was not sent");
  ASSERT_EQ(fastserve_shm_request_send(request, -1), 0);
  EXPECT_EQ(fastserve_shm_request_wait(request, 0, &response), FASTSERVE_SHM_DEADLINE_EXCEEDED);
  EXPECT_EQ(fastserve_shm_request_send(request, -1), FASTSERVE_SHM_FAILED_PRECONDITION);
  fastserve_shm_request_cancel(request);
  EXPECT_EQ(fastserve_shm_request_wait(request, kLong_ns, &response), FASTSERVE_SHM_CANCELLED);
  EXPECT_EQ(response, nullptr);
  const int64_t dims[13] = {};
  void* data = nullptr;
  size_t bytes = 0;
  for (const int type : {-1, 14, 1 << 20}) {
    EXPECT_EQ(fastserve_shm_request_input(request, "x", type, dims, 1, &data, &bytes),
              FASTSERVE_SHM_INVALID_ARGUMENT);
  }
  EXPECT_EQ(fastserve_shm_request_input(request, "x", FASTSERVE_SHM_BYTES, dims, 1, &data, &bytes),
            FASTSERVE_SHM_INVALID_ARGUMENT);
  EXPECT_EQ(fastserve_shm_request_input(request, "x", 0, dims, 13, &data, &bytes),
            FASTSERVE_SHM_INVALID_ARGUMENT);
  EXPECT_EQ(fastserve_shm_request_input_bytes(request, "x", dims, 0, size_t{1} << 21, &data),
            FASTSERVE_SHM_RESOURCE_EXHAUSTED);
  EXPECT_EQ(data, nullptr);
  fastserve_shm_request_free(request);
  fastserve_shm_client* other = nullptr;
  EXPECT_EQ(fastserve_shm_connect(NewAddress().c_str(), nullptr, &other),
            FASTSERVE_SHM_UNAVAILABLE);
  EXPECT_EQ(other, nullptr);
}

TEST_F(CClient, NullIsAnswered) {
  fastserve_shm_tensor tensor = FASTSERVE_SHM_TENSOR_INIT;
  fastserve_shm_response* response = nullptr;
  int is_ready = 0;
  size_t count = 0;
  uint64_t tag = 0;
  for (const int code :
       {fastserve_shm_connect(nullptr, nullptr, nullptr),
        fastserve_shm_request_new(nullptr, nullptr, nullptr, nullptr, nullptr),
        fastserve_shm_request_input(nullptr, nullptr, 0, nullptr, 0, nullptr, nullptr),
        fastserve_shm_request_input_bytes(nullptr, nullptr, nullptr, 0, 0, nullptr),
        fastserve_shm_request_want(nullptr, "x"), fastserve_shm_request_send(nullptr, 0),
        fastserve_shm_request_stream(nullptr, 0), fastserve_shm_request_wait(nullptr, 0, &response),
        fastserve_shm_request_watch(nullptr, 0, &is_ready),
        fastserve_shm_response_output(nullptr, 0, &tensor),
        fastserve_shm_response_find(nullptr, "x", &tensor),
        fastserve_shm_describe(nullptr, "m", nullptr, 0, nullptr),
        fastserve_shm_description_tensor(nullptr, 0, &tensor),
        fastserve_shm_ready(nullptr, &tag, 1, &count)}) {
    EXPECT_EQ(code, FASTSERVE_SHM_INVALID_ARGUMENT);
  }
  EXPECT_NE(std::string(fastserve_shm_error()).find("NULL"), std::string::npos);
  EXPECT_EQ(fastserve_shm_is_open(nullptr), 0);
  EXPECT_EQ(fastserve_shm_fd(nullptr), -1);
  EXPECT_EQ(fastserve_shm_response_outputs(nullptr), 0u);
  EXPECT_STREQ(fastserve_shm_response_model(nullptr), "");
  EXPECT_EQ(fastserve_shm_datatype_name(-1), nullptr);
  EXPECT_EQ(fastserve_shm_datatype_name(14), nullptr);
  EXPECT_STREQ(fastserve_shm_datatype_name(FASTSERVE_SHM_BF16), "BF16");
  fastserve_shm_request_cancel(nullptr);
  fastserve_shm_request_free(nullptr);
  fastserve_shm_response_free(nullptr);
  fastserve_shm_description_free(nullptr);
  fastserve_shm_close(nullptr);
}

TEST_F(CClient, DescribesModels) {
  fastserve_shm_description* description = nullptr;
  EXPECT_EQ(fastserve_shm_describe(client_, "none", "1", kLong_ns, &description),
            FASTSERVE_SHM_NOT_FOUND);
  EXPECT_STREQ(fastserve_shm_error(), "no such model");
  ASSERT_EQ(fastserve_shm_describe(client_, "digits", nullptr, kLong_ns, &description), 0);
  EXPECT_STREQ(fastserve_shm_description_version(description), "7");
  EXPECT_EQ(fastserve_shm_description_max_batch_size(description), 8);
  ASSERT_EQ(fastserve_shm_description_tensors(description), 2u);
  fastserve_shm_tensor tensor = FASTSERVE_SHM_TENSOR_INIT;
  ASSERT_EQ(fastserve_shm_description_tensor(description, 0, &tensor), 0);
  EXPECT_STREQ(tensor.name, "image");
  EXPECT_EQ(tensor.dims[0], -1);
  EXPECT_EQ(tensor.dims[1], 4);
  EXPECT_EQ(tensor.flags, unsigned{FASTSERVE_SHM_OPTIONAL});
  ASSERT_EQ(fastserve_shm_description_tensor(description, 1, &tensor), 0);
  EXPECT_EQ(tensor.flags, unsigned{FASTSERVE_SHM_OUTPUT});
  EXPECT_EQ(fastserve_shm_description_tensor(description, 2, &tensor), FASTSERVE_SHM_OUT_OF_RANGE);
  fastserve_shm_description_free(description);
}

// A caller that was built when the struct was shorter.
TEST_F(CClient, WritesNoMoreOfAStructThanTheCallerKnows) {
  fastserve_shm_description* description = nullptr;
  ASSERT_EQ(fastserve_shm_describe(client_, "digits", nullptr, kLong_ns, &description), 0);
  fastserve_shm_tensor tensor;
  std::memset(&tensor, 0x55, sizeof tensor);
  const fastserve_shm_tensor untouched = tensor;
  tensor.size = offsetof(fastserve_shm_tensor, rank);
  ASSERT_EQ(fastserve_shm_description_tensor(description, 0, &tensor), 0);
  EXPECT_STREQ(tensor.name, "image");
  EXPECT_EQ(tensor.size, offsetof(fastserve_shm_tensor, rank));
  EXPECT_EQ(tensor.rank, untouched.rank);
  EXPECT_EQ(tensor.flags, untouched.flags);
  fastserve_shm_description_free(description);
  fastserve_shm_options options = FASTSERVE_SHM_OPTIONS_INIT;
  options.size = sizeof(size_t);
  options.segment_bytes = 1;  // Not looked at.
  fastserve_shm_client* other = nullptr;
  fastserve_shm_close(client_);
  client_ = nullptr;
  ASSERT_EQ(fastserve_shm_connect(server_.address().c_str(), &options, &other), 0);
  EXPECT_EQ(fastserve_shm_is_open(other), 1);
  fastserve_shm_close(other);
}

TEST_F(CClient, TellsEventLoopsWhoIsReady) {
  std::vector<fastserve_shm_request*> requests;
  size_t left = 0;
  std::vector<bool> is_done(5);
  for (uint64_t i = 0; i < is_done.size(); ++i) {
    requests.push_back(NewRequest("m"));
    AddText(requests.back(), "x", "text");
    ASSERT_EQ(fastserve_shm_request_send(requests.back(), kLong_ns), 0);
    int is_ready = 0;
    ASSERT_EQ(fastserve_shm_request_watch(requests.back(), i, &is_ready), 0);
    is_done[i] = is_ready != 0;
    left += is_ready != 0 ? 0 : 1;
  }
  while (left > 0) {
    pollfd watched{.fd = fastserve_shm_fd(client_), .events = POLLIN, .revents = 0};
    ASSERT_EQ(poll(&watched, 1, 20'000), 1);
    size_t count = 2;
    while (count == 2) {
      uint64_t tags[2];
      ASSERT_EQ(fastserve_shm_ready(client_, tags, 2, &count), 0);
      for (size_t i = 0; i < count; ++i) {
        EXPECT_FALSE(is_done.at(tags[i]));
        is_done[tags[i]] = true;
        --left;
      }
    }
  }
  for (fastserve_shm_request* request : requests) {
    fastserve_shm_response* response = nullptr;
    EXPECT_EQ(fastserve_shm_request_wait(request, 0, &response), 0) << fastserve_shm_error();
    fastserve_shm_response_free(response);
    fastserve_shm_request_free(request);
  }
}

}  // namespace
}  // namespace fastserve
