#include "gateway/channel/channel_exchange.h"

#include <new>
#include <utility>

#include "base/check.h"

namespace fastserve {

void ChannelExchange::OnResponse(InferenceRequest&, std::span<ResponseOutput> response) {
  ++responses;
  try {
    if (streams) return owner->TakeResponse(*this, response);
    if (responses > 1) return;
    for (ResponseOutput& output : response) outputs.push_back(std::move(output));
  } catch (const std::bad_alloc&) {
    lacks_memory = true;  // None may leave a sink; the request ends so.
  }
}

void ChannelExchange::OnEnd(RequestPtr ended, Status status) {
  FS_CHECK(ended.release() == &request);  // It is a member of this.
  if (status.ok() && lacks_memory) status = Status::OutOfMemory();
  if (status.ok() && !streams && responses != 1) {
    status = InvalidArgument("model '", servable->name(), "' gave ", responses,
                             " responses, but a plain inference request takes exactly one");
  }
  // The last reference to the session may be this one, and the session has this exchange.
  const std::shared_ptr<ChannelExchangeOwner> kept = std::move(owner);
  kept->TakeEnd(*this, std::move(status));
}

void ChannelExchange::Clear() noexcept {
  number = 0;
  streams = false;
  received_ns = 0;
  message.Clear();
  servable.reset();
  wanted.clear();
  arena.Clear();
  request.Clear();
  request.sink = this;
  lent = 0;
  owner.reset();
  outputs.clear();
  responses = 0;
  lacks_memory = false;
}

}  // namespace fastserve
