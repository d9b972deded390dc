#include "channel/client/channel_call.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace fastserve {
namespace {

Status CheckText(std::string_view what, std::string_view text) {
  if (text.size() <= ChannelMessage::kTextBytesMax) return {};
  return InvalidArgument(what, " has ", text.size(), " bytes, expected at most ",
                         ChannelMessage::kTextBytesMax);
}

}  // namespace

Result<std::shared_ptr<ChannelCall>> ChannelCall::Create(std::shared_ptr<ClientChannel> channel,
                                                         std::string_view model,
                                                         std::string_view version,
                                                         std::string_view id) {
  FS_RETURN_IF_ERROR(channel->CheckProcess());
  FS_RETURN_IF_ERROR(CheckText("a model's name", model));
  FS_RETURN_IF_ERROR(CheckText("a model's version", version));
  FS_RETURN_IF_ERROR(CheckText("a request's id", id));
  return std::shared_ptr<ChannelCall>(new ChannelCall(std::move(channel), model, version, id));
}

ChannelCall::ChannelCall(std::shared_ptr<ClientChannel> channel, std::string_view model,
                         std::string_view version, std::string_view id)
    : channel_(std::move(channel)),
      state_(std::make_shared<CallState>()),
      model_(model),
      version_(version),
      id_(id) {}

ChannelCall::~ChannelCall() { channel_->Abandon(*state_); }

Status ChannelCall::BeginChange() {
  FS_RETURN_IF_ERROR(channel_->CheckOpen());
  return channel_->BeginChange(*state_);
}

Result<ChannelBytes> ChannelCall::AddInput(std::string_view name, DataType type,
                                           const Shape& shape) {
  if (type == DataType::kBytes) {
    return InvalidArgument("input '", name, "': the shape of a BYTES tensor does not say its size");
  }
  const std::optional<int64_t> elements = shape.Elements();
  size_t bytes = 0;
  if (!elements ||
      __builtin_mul_overflow(static_cast<size_t>(*elements), ElementBytes(type), &bytes)) {
    return InvalidArgument("input '", name, "': shape ", shape.ToString(),
                           " has a negative dimension or too many elements");
  }
  return AddInput(name, type, shape, bytes);
}

Result<ChannelBytes> ChannelCall::AddInput(std::string_view name, DataType type, const Shape& shape,
                                           size_t bytes) {
  FS_RETURN_IF_ERROR(CheckText("an input's name", name));
  FS_RETURN_IF_ERROR(ValidateTensorSize(name, type, shape, bytes));
  FS_RETURN_IF_ERROR(BeginChange());
  std::vector<CallState::Input>& inputs = state_->inputs;
  auto input = std::ranges::find(inputs, name, &CallState::Input::name);
  if (input == inputs.end() && inputs.size() == ChannelMessage::kTensorsMax) {
    return InvalidArgument("input '", name, "': a request has at most ", inputs.size(), " inputs");
  }
  BufferRef block;
  // Whoever has another reference may look at the old bytes still.
  const bool is_kept = input != inputs.end() && input->block->size() >= bytes &&
                       input->block->size() <= std::max(2 * bytes, BuddyHeap::kBlockBytesMin) &&
                       input->block->has_one_owner();
  block = is_kept ? input->block : channel_->Allocate(bytes);
  if (!block) {
    const ClientSegment& segment = channel_->segment();
    return ResourceExhausted(
        "input '", name, "' of ", bytes, " bytes finds no room: ", segment.bytes_in_use(),
        " of the ", segment.layout().client_heap.bytes,
        " bytes for requests are in use, and no block has more than ",
        std::bit_floor(segment.layout().client_heap.bytes),
        "; let go of responses that are inputs, or connect with a larger segment");
  }
  is_written_ = false;
  const std::span<std::byte> room = block->bytes().first(bytes);
  CallState::Input made{std::string(name), type, shape, room, block};
  if (input == inputs.end()) {
    inputs.push_back(std::move(made));
  } else {
    *input = std::move(made);
  }
  return ChannelBytes{.bytes = room, .owner = std::move(block)};
}

Status ChannelCall::Want(std::string_view output) {
  FS_RETURN_IF_ERROR(CheckText("an output's name", output));
  if (wanted_.size() == ChannelMessage::kTensorsMax) {
    return InvalidArgument("output '", output, "': a request has at most ", wanted_.size(),
                           " wanted outputs");
  }
  FS_RETURN_IF_ERROR(BeginChange());
  is_written_ = false;
  wanted_.emplace_back(output);
  return {};
}

Status ChannelCall::Send(Nanos deadline) { return SendAs(DescriptorKind::kInfer, deadline); }

Status ChannelCall::Stream(Nanos deadline) { return SendAs(DescriptorKind::kStream, deadline); }

Status ChannelCall::SendAs(DescriptorKind kind, Nanos deadline) {
  if (!is_written_) {
    FS_RETURN_IF_ERROR(BeginChange());
    FS_RETURN_IF_ERROR(WriteOut());
  }
  FS_RETURN_IF_ERROR(channel_->Send(state_, kind, deadline));
  was_sent_ = true;
  broken_ = {};
  return {};
}

Status ChannelCall::WriteOut() {
  ClientSegment& segment = channel_->segment();
  message_.Clear();
  message_.model = model_;
  message_.version = version_;
  message_.id = id_;
  for (const CallState::Input& input : state_->inputs) {
    message_.tensors.push_back({.name = input.name,
                                .type = input.type,
                                .shape = input.shape,
                                .offset = segment.OffsetOf(input.bytes),
                                .bytes = input.bytes.size(),
                                .flags = 0});
  }
  message_.wanted.assign(wanted_.begin(), wanted_.end());
  const size_t bytes = MessageBytes(message_);
  if (!state_->message || state_->message->size() < bytes) {
    state_->message = channel_->Allocate(bytes);
    if (!state_->message) {
      return ResourceExhausted("the request finds no room: ", segment.bytes_in_use(), " of the ",
                               segment.layout().client_heap.bytes,
                               " bytes for requests are in use; connect with a larger segment");
    }
  }
  WriteMessage(message_, state_->message->bytes().first(bytes));
  state_->message_bytes = bytes;
  is_written_ = true;
  return {};
}

Result<std::optional<ChannelResponse>> ChannelCall::Next(Nanos until) {
  FS_RETURN_IF_ERROR(channel_->CheckProcess());
  if (!was_sent_) return FailedPrecondition("the request was not sent");
  if (!broken_.ok()) return broken_;
  ClientChannel::News news = channel_->Await(*state_, until);
  std::optional<ChannelResponse> response;
  switch (news.kind) {
    case ClientChannel::News::Kind::kNone:
      return Status(Code::kDeadlineExceeded,
                    "no response came while it was waited for; the request goes on");
    case ClientChannel::News::Kind::kOver:
      if (!news.end.ok()) return std::move(news.end);
      break;
    case ClientChannel::News::Kind::kResponse:
      broken_ =
          ReadResponse(channel_->segment(), news.response, state_->inputs, &response.emplace());
      if (!broken_.ok()) {
        Cancel();
        return broken_;
      }
      break;
  }
  return response;
}

Result<ChannelDescription> ChannelCall::Describe(Nanos deadline) {
  FS_RETURN_IF_ERROR(SendAs(DescriptorKind::kDescribe, deadline));
  ClientChannel::News news = channel_->Await(*state_, deadline);
  switch (news.kind) {
    case ClientChannel::News::Kind::kNone:
      return MakeStatus(Code::kDeadlineExceeded, "model '", model_, "' was not described in time");
    case ClientChannel::News::Kind::kOver:
      if (!news.end.ok()) return std::move(news.end);
      return Internal("the server did not describe the model '", model_, "'");
    case ClientChannel::News::Kind::kResponse:
      break;
  }
  ChannelDescription description;
  FS_RETURN_IF_ERROR(ReadDescription(channel_->segment(), news.response, &description));
  return description;
}

bool ChannelCall::Watch(uint64_t tag) { return channel_->Watch(*state_, tag); }

void ChannelCall::Cancel() { channel_->Cancel(*state_); }

bool ChannelCall::is_under_way() const { return channel_->IsUnderWay(*state_); }

}  // namespace fastserve
