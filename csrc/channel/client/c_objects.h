// What is behind the pointers of fastserve/shm_client.h, and how its functions answer.
//
//   return Answer([&]() -> Status { ...; return {}; });
//
// No exception leaves them: a caller in C could not catch it.
// Threads: as the header says.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "base/annotations.h"
#include "base/clock.h"
#include "base/status.h"
#include "channel/client/channel_client.h"
#include "fastserve/shm_client.h"

namespace fastserve {

// The thread's last error, for fastserve_shm_error.
void SetLastError(Status status) noexcept;

template <typename Act>
int Answer(Act act) noexcept {
  Status status;
  try {
    status = act();
  } catch (const std::bad_alloc&) {
    status = Status::OutOfMemory();
  } catch (...) {
    status = MakeStatus(Code::kInternal, "an exception that nobody expected");
  }
  const Code code = status.code();
  if (code != Code::kOk) SetLastError(std::move(status));
  return static_cast<int>(code);
}

// Whether all of them are there; `what` names them.
template <typename... Pointers>
Status CheckGiven(const char* what, const Pointers*... pointers) {
  if ((... && (pointers != nullptr))) return {};
  return InvalidArgument("NULL, where ", what, " is expected");
}

inline std::string_view TextOrNone(const char* text) { return text == nullptr ? "" : text; }

inline Nanos DeadlineIn(int64_t timeout_ns) {
  const Nanos now = NowNanos();
  return timeout_ns < 0 || timeout_ns > kNever - now ? kNever : now + timeout_ns;
}

// The names of a message's tensors, and whatever else C wants to end with a zero.
struct CTexts {
  explicit CTexts(const ChannelMessage& message)
      : model(message.model), version(message.version), id(message.id) {
    names.reserve(message.tensors.size());
    for (const ChannelTensor& tensor : message.tensors) names.emplace_back(tensor.name);
  }

  std::string model;
  std::string version;
  std::string id;
  std::vector<std::string> names;
};

// `bytes` may be those of a tensor of a description: none.
Status FillTensor(const OwnedMessage& owned, const CTexts& texts, size_t index,
                  std::span<std::byte> bytes, fastserve_shm_tensor* out);

}  // namespace fastserve

// NOLINTBEGIN(readability-identifier-naming): the names of C.
struct fastserve_shm_client {
  std::shared_ptr<fastserve::ChannelClient> client;
  fastserve::Mutex mutex;
  // What there was no room for.
  std::vector<uint64_t> ready FS_GUARDED_BY(mutex);
};

struct fastserve_shm_request {
  std::shared_ptr<fastserve::ChannelCall> call;
};

struct fastserve_shm_response {
  explicit fastserve_shm_response(fastserve::ChannelResponse came)
      : response(std::move(came)), texts(response.message) {}

  fastserve::ChannelResponse response;
  fastserve::CTexts texts;
};

struct fastserve_shm_description {
  explicit fastserve_shm_description(fastserve::ChannelDescription came)
      : description(std::move(came)), texts(description.message) {}

  fastserve::ChannelDescription description;
  fastserve::CTexts texts;
};
// NOLINTEND(readability-identifier-naming)
