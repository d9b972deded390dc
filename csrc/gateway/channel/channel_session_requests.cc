// What a client asks for, from its descriptor to a request that fits a model.
#include <algorithm>
#include <new>
#include <utility>

#include "gateway/channel/channel_session.h"
#include "gateway/memory/may_change.h"

namespace fastserve {

Status ChannelSession::Prepare(const Descriptor& descriptor, ChannelExchange* exchange) {
  FS_RETURN_IF_ERROR(ReadOwnMessage(descriptor, exchange));
  Status status;
  exchange->servable = FindServable(exchange->message, &status);
  FS_RETURN_IF_ERROR(std::move(status));
  FS_RETURN_IF_ERROR(ChooseOutputs(exchange));
  return BindInputs(exchange);
}

Status ChannelSession::ReadOwnMessage(const Descriptor& descriptor, ChannelExchange* exchange) {
  if (!layout_.client_heap.Contains(descriptor.offset, descriptor.bytes) ||
      descriptor.bytes > kMessageBytesMax) {
    return InvalidArgument("the request's message, ", descriptor.bytes, " bytes at offset ",
                           descriptor.offset, ", does not lie in the client's half of the segment");
  }
  std::vector<std::byte>& text = exchange->text;
  const std::span<const std::byte> from = bytes_.subspan(descriptor.offset, descriptor.bytes);
  text.assign(from.begin(), from.end());
  return ReadMessage(text, MessageUse::kTensors, &exchange->message);
}

ServableHandle ChannelSession::FindServable(const ChannelMessage& message, Status* status) {
  if (shared_->is_draining.load(std::memory_order_relaxed)) {
    *status = Unavailable("the server is shutting down, connect again");
    return nullptr;
  }
  ServableHandle found = serving_.Find(message.model, message.version);
  if (!found && shared_->is_loading.load(std::memory_order_relaxed)) {
    *status = Unavailable("model '", message.model, "' is not there yet: the server is loading ",
                          "its models, try again");
  } else if (!found) {
    *status = message.version.empty() ? NotFound("model '", message.model, "' is not served")
                                      : NotFound("model '", message.model, "' version '",
                                                 message.version, "' is not served");
  }
  return found;
}

Status ChannelSession::ChooseOutputs(ChannelExchange* exchange) {
  const Servable& servable = *exchange->servable;
  exchange->wanted.clear();
  for (const std::string_view name : exchange->message.wanted) {
    Result<size_t> index = servable.FindOutput(name);
    if (!index.ok()) return std::move(index).status();
    if (std::ranges::find(exchange->wanted, *index) != exchange->wanted.end()) {
      return InvalidArgument("output '", name, "' is asked for twice");
    }
    exchange->wanted.push_back(*index);
  }
  if (!exchange->wanted.empty()) return {};
  for (size_t i = 0; i < servable.outputs().size(); ++i) exchange->wanted.push_back(i);
  return {};
}

Status ChannelSession::BindInputs(ChannelExchange* exchange) {
  inputs_.clear();
  for (const ChannelTensor& tensor : exchange->message.tensors) {
    FS_RETURN_IF_ERROR(FillInput(tensor, exchange, &inputs_.emplace_back()));
  }
  return exchange->servable->Bind(inputs_, &exchange->request);
}

Status ChannelSession::FillInput(const ChannelTensor& tensor, ChannelExchange* exchange,
                                 NamedInput* input) {
  if (!layout_.client_heap.Contains(tensor.offset, tensor.bytes)) {
    return InvalidArgument("input '", tensor.name, "': its ", tensor.bytes, " bytes at offset ",
                           tensor.offset, " do not lie in the client's half of the segment");
  }
  input->name = tensor.name;
  input->tensor = {.type = tensor.type,
                   .shape = tensor.shape,
                   .bytes = bytes_.subspan(tensor.offset, tensor.bytes)};
  // The message has seen to it that there are as many bytes as the shape says.
  if (MayChangeWhileRead(tensor.type)) {
    input->owner = segment_;
    return {};
  }
  const std::span<std::byte> copy = exchange->arena.Allocate(tensor.bytes);
  if (copy.size() < tensor.bytes) {
    return Unavailable("no memory for input '", tensor.name, "' of ", tensor.bytes,
                       " bytes, try again later");
  }
  std::ranges::copy(input->tensor.bytes, copy.begin());
  input->tensor.bytes = copy;
  input->owner = exchange->arena.OwnerOf(copy);
  return ValidateTensor(tensor.name, input->tensor);
}

void ChannelSession::Describe(const Descriptor& descriptor) {
  Status status;
  try {
    const std::unique_ptr<ChannelExchange> exchange = NewExchange();
    status = ReadOwnMessage(descriptor, exchange.get());
    ServableHandle servable;
    if (status.ok()) servable = FindServable(exchange->message, &status);
    if (servable) {
      ChannelMessage& said = exchange->message;
      said.Clear();
      said.model = servable->name();
      said.version = servable->version_text();
      said.max_batch_size = servable->max_batch_size();
      for (const TensorSpec& spec : servable->inputs()) {
        const uint16_t flags = spec.optional ? ChannelTensor::kOptional : 0;
        said.tensors.push_back(
            {.name = spec.name, .type = spec.type, .shape = spec.shape, .flags = flags});
      }
      for (const ServedOutput& output : servable->outputs()) {
        said.tensors.push_back({.name = output.spec.name,
                                .type = output.spec.type,
                                .shape = output.spec.shape,
                                .flags = ChannelTensor::kOutput});
      }
      outbox_.SayDescription(descriptor.request, said);
    }
  } catch (const std::bad_alloc&) {
    status = Status::OutOfMemory();
  }
  if (!status.ok()) outbox_.SayEnd(descriptor.request, status);
}

}  // namespace fastserve
