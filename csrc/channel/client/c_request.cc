// Requests, responses and errors of fastserve/shm_client.h.
#include "channel/client/c_objects.h"

namespace fastserve {
namespace {

static_assert(FASTSERVE_SHM_UNAUTHENTICATED == static_cast<int>(Code::kUnauthenticated));
static_assert(FASTSERVE_SHM_BYTES == static_cast<int>(DataType::kBytes));
static_assert(FASTSERVE_SHM_FP32 == static_cast<int>(DataType::kFp32));
static_assert(FASTSERVE_SHM_INT8 == static_cast<int>(DataType::kInt8));
static_assert(FASTSERVE_SHM_BYTES + 1 == kDataTypeCount);
static_assert(int{FASTSERVE_SHM_OUTPUT} == ChannelTensor::kOutput &&
              int{FASTSERVE_SHM_OPTIONAL} == ChannelTensor::kOptional);

thread_local Status last_error;

// An input of `bytes`; of as many as its shape says without them.
Result<ChannelBytes> AddInput(fastserve_shm_request* request, const char* name, int datatype,
                              std::span<const int64_t> dims, const size_t* bytes) {
  if (datatype < 0 || static_cast<size_t>(datatype) >= kDataTypeCount) {
    return InvalidArgument("input '", name, "': there is no datatype ", datatype);
  }
  if (dims.size() > Shape::kMaxRank) {
    return InvalidArgument("input '", name, "' has ", dims.size(), " dimensions, expected at most ",
                           Shape::kMaxRank);
  }
  const auto type = static_cast<DataType>(datatype);
  if (bytes == nullptr) return request->call->AddInput(name, type, Shape(dims));
  return request->call->AddInput(name, type, Shape(dims), *bytes);
}

Status CheckInput(const fastserve_shm_request* request, const char* name, const int64_t* dims,
                  size_t rank) {
  FS_RETURN_IF_ERROR(CheckGiven("a request and an input's name", request, name));
  return rank == 0 ? Status() : CheckGiven("an input's dimensions", dims);
}

}  // namespace

void SetLastError(Status status) noexcept { last_error = std::move(status); }

Status FillTensor(const OwnedMessage& owned, const CTexts& texts, size_t index,
                  std::span<std::byte> bytes, fastserve_shm_tensor* out) {
  if (index >= owned.message.tensors.size()) {
    return MakeStatus(Code::kOutOfRange, "tensor ", index, ", but there are only ",
                      owned.message.tensors.size());
  }
  const ChannelTensor& tensor = owned.message.tensors[index];
  const fastserve_shm_tensor filled{.size = out->size,
                                    .name = texts.names[index].c_str(),
                                    .datatype = static_cast<int>(tensor.type),
                                    .rank = tensor.shape.rank(),
                                    .dims = tensor.shape.dims().data(),
                                    .data = bytes.data(),
                                    .bytes = bytes.size(),
                                    .flags = tensor.flags};
  std::memcpy(out, &filled, std::min(out->size, sizeof filled));
  return {};
}

}  // namespace fastserve

using fastserve::Answer;
using fastserve::CheckGiven;
using fastserve::Status;

const char* fastserve_shm_error(void) { return fastserve::last_error.message().c_str(); }

const char* fastserve_shm_datatype_name(int datatype) {
  if (datatype < 0 || static_cast<size_t>(datatype) >= fastserve::kDataTypeCount) return nullptr;
  // Views of literals, which end with a zero.
  return fastserve::DataTypeName(static_cast<fastserve::DataType>(datatype)).data();
}

int fastserve_shm_request_new(fastserve_shm_client* client, const char* model, const char* version,
                              const char* id, fastserve_shm_request** request) {
  return Answer([&]() -> Status {
    FS_RETURN_IF_ERROR(
        CheckGiven("a client, a model, and where to put the request", client, model, request));
    auto made = std::make_unique<fastserve_shm_request>();
    auto call =
        client->client->NewCall(model, fastserve::TextOrNone(version), fastserve::TextOrNone(id));
    if (!call.ok()) return std::move(call).status();
    made->call = *std::move(call);
    *request = made.release();
    return {};
  });
}

int fastserve_shm_request_input(fastserve_shm_request* request, const char* name, int datatype,
                                const int64_t* dims, size_t rank, void** data, size_t* bytes) {
  return Answer([&]() -> Status {
    FS_RETURN_IF_ERROR(fastserve::CheckInput(request, name, dims, rank));
    FS_RETURN_IF_ERROR(CheckGiven("where to put the input's place and size", data, bytes));
    const auto input = fastserve::AddInput(request, name, datatype, {dims, rank}, nullptr);
    if (!input.ok()) return input.status();
    *data = input->bytes.data();
    *bytes = input->bytes.size();
    return {};
  });
}

int fastserve_shm_request_input_bytes(fastserve_shm_request* request, const char* name,
                                      const int64_t* dims, size_t rank, size_t bytes, void** data) {
  return Answer([&]() -> Status {
    FS_RETURN_IF_ERROR(fastserve::CheckInput(request, name, dims, rank));
    FS_RETURN_IF_ERROR(CheckGiven("where to put the input's place", data));
    const auto input =
        fastserve::AddInput(request, name, FASTSERVE_SHM_BYTES, {dims, rank}, &bytes);
    if (!input.ok()) return input.status();
    *data = input->bytes.data();
    return {};
  });
}

int fastserve_shm_request_want(fastserve_shm_request* request, const char* output) {
  return Answer([&]() -> Status {
    FS_RETURN_IF_ERROR(CheckGiven("a request and an output's name", request, output));
    return request->call->Want(output);
  });
}

int fastserve_shm_request_send(fastserve_shm_request* request, int64_t timeout_ns) {
  return Answer([&]() -> Status {
    FS_RETURN_IF_ERROR(CheckGiven("a request", request));
    return request->call->Send(fastserve::DeadlineIn(timeout_ns));
  });
}

int fastserve_shm_request_stream(fastserve_shm_request* request, int64_t timeout_ns) {
  return Answer([&]() -> Status {
    FS_RETURN_IF_ERROR(CheckGiven("a request", request));
    return request->call->Stream(fastserve::DeadlineIn(timeout_ns));
  });
}

int fastserve_shm_request_wait(fastserve_shm_request* request, int64_t timeout_ns,
                               fastserve_shm_response** response) {
  return Answer([&]() -> Status {
    FS_RETURN_IF_ERROR(CheckGiven("a request, and where to put the response", request, response));
    auto next = request->call->Next(fastserve::DeadlineIn(timeout_ns));
    if (!next.ok()) return std::move(next).status();
    *response = next->has_value() ? new fastserve_shm_response(**std::move(next)) : nullptr;
    return {};
  });
}

void fastserve_shm_request_cancel(fastserve_shm_request* request) {
  if (request != nullptr) request->call->Cancel();
}

void fastserve_shm_request_free(fastserve_shm_request* request) { delete request; }

int fastserve_shm_request_watch(fastserve_shm_request* request, uint64_t tag, int* is_ready) {
  return Answer([&]() -> Status {
    FS_RETURN_IF_ERROR(CheckGiven("a request, and where to put the answer", request, is_ready));
    *is_ready = request->call->Watch(tag) ? 1 : 0;
    return {};
  });
}

// ------------------------------------------------------------------------------------------------
// Responses.

const char* fastserve_shm_response_model(const fastserve_shm_response* response) {
  return response == nullptr ? "" : response->texts.model.c_str();
}

const char* fastserve_shm_response_version(const fastserve_shm_response* response) {
  return response == nullptr ? "" : response->texts.version.c_str();
}

const char* fastserve_shm_response_id(const fastserve_shm_response* response) {
  return response == nullptr ? "" : response->texts.id.c_str();
}

size_t fastserve_shm_response_outputs(const fastserve_shm_response* response) {
  return response == nullptr ? 0 : response->texts.names.size();
}

int fastserve_shm_response_output(const fastserve_shm_response* response, size_t index,
                                  fastserve_shm_tensor* tensor) {
  return Answer([&]() -> Status {
    FS_RETURN_IF_ERROR(CheckGiven("a response and a tensor", response, tensor));
    const auto& outputs = response->response.outputs;
    const std::span<std::byte> bytes =
        index < outputs.size() ? outputs[index].bytes : std::span<std::byte>();
    return FillTensor(response->response, response->texts, index, bytes, tensor);
  });
}

int fastserve_shm_response_find(const fastserve_shm_response* response, const char* name,
                                fastserve_shm_tensor* tensor) {
  return Answer([&]() -> Status {
    FS_RETURN_IF_ERROR(CheckGiven("a response, a name and a tensor", response, name, tensor));
    const std::vector<std::string>& names = response->texts.names;
    const auto found = std::ranges::find(names, name);
    if (found == names.end()) return fastserve::NotFound("the response has no output '", name, "'");
    const auto index = static_cast<size_t>(found - names.begin());
    return FillTensor(response->response, response->texts, index,
                      response->response.outputs[index].bytes, tensor);
  });
}

void fastserve_shm_response_free(fastserve_shm_response* response) { delete response; }
