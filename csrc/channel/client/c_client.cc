// The client, descriptions and event loops of fastserve/shm_client.h.
#include <array>

#include "channel/client/c_objects.h"

namespace fastserve {
namespace {

// As far as the caller knows it; the rest as it is without options.
fastserve_shm_options KnownOptions(const fastserve_shm_options* given) {
  fastserve_shm_options known = FASTSERVE_SHM_OPTIONS_INIT;
  if (given != nullptr) std::memcpy(&known, given, std::min(given->size, sizeof known));
  return known;
}

ChannelClientOptions OptionsOf(const fastserve_shm_options* given) {
  const fastserve_shm_options known = KnownOptions(given);
  ChannelClientOptions options;
  if (known.segment_bytes != 0) options.segment_bytes = known.segment_bytes;
  if (known.connect_timeout_ns >= 0) options.connect_timeout = known.connect_timeout_ns;
  if (known.spin_ns >= 0) options.spin = known.spin_ns;
  if (known.server_user >= 0) options.server_user = static_cast<uid_t>(known.server_user);
  return options;
}

}  // namespace
}  // namespace fastserve

using fastserve::Answer;
using fastserve::CheckGiven;
using fastserve::Status;

int fastserve_shm_connect(const char* address, const fastserve_shm_options* options,
                          fastserve_shm_client** client) {
  return Answer([&]() -> Status {
    FS_RETURN_IF_ERROR(CheckGiven("an address, and where to put the client", address, client));
    auto made = std::make_unique<fastserve_shm_client>();
    auto connected = fastserve::ChannelClient::Connect(address, fastserve::OptionsOf(options));
    if (!connected.ok()) return std::move(connected).status();
    made->client = *std::move(connected);
    *client = made.release();
    return {};
  });
}

void fastserve_shm_close(fastserve_shm_client* client) { delete client; }

int fastserve_shm_is_open(const fastserve_shm_client* client) {
  return client != nullptr && client->client->is_open() ? 1 : 0;
}

// ------------------------------------------------------------------------------------------------
// Descriptions.

int fastserve_shm_describe(fastserve_shm_client* client, const char* model, const char* version,
                           int64_t timeout_ns, fastserve_shm_description** description) {
  return Answer([&]() -> Status {
    FS_RETURN_IF_ERROR(CheckGiven("a client, a model, and where to put the description", client,
                                  model, description));
    auto described = client->client->Describe(model, fastserve::TextOrNone(version),
                                              fastserve::DeadlineIn(timeout_ns));
    if (!described.ok()) return std::move(described).status();
    *description = new fastserve_shm_description(*std::move(described));
    return {};
  });
}

const char* fastserve_shm_description_version(const fastserve_shm_description* description) {
  return description == nullptr ? "" : description->texts.version.c_str();
}

int64_t fastserve_shm_description_max_batch_size(const fastserve_shm_description* description) {
  return description == nullptr ? 0 : description->description.message.max_batch_size;
}

size_t fastserve_shm_description_tensors(const fastserve_shm_description* description) {
  return description == nullptr ? 0 : description->texts.names.size();
}

int fastserve_shm_description_tensor(const fastserve_shm_description* description, size_t index,
                                     fastserve_shm_tensor* tensor) {
  return Answer([&]() -> Status {
    FS_RETURN_IF_ERROR(CheckGiven("a description and a tensor", description, tensor));
    return FillTensor(description->description, description->texts, index, {}, tensor);
  });
}

void fastserve_shm_description_free(fastserve_shm_description* description) { delete description; }

// ------------------------------------------------------------------------------------------------
// Event loops.

int fastserve_shm_fd(const fastserve_shm_client* client) {
  return client == nullptr ? -1 : client->client->fd();
}

int fastserve_shm_ready(fastserve_shm_client* client, uint64_t* tags, size_t capacity,
                        size_t* count) {
  return Answer([&]() -> Status {
    FS_RETURN_IF_ERROR(CheckGiven("a client, tags and a count", client, tags, count));
    const fastserve::MutexLock lock(client->mutex);
    std::vector<uint64_t>& ready = client->ready;
    const std::vector<uint64_t> more = client->client->TakeReady();
    ready.insert(ready.end(), more.begin(), more.end());
    *count = std::min(capacity, ready.size());
    std::copy_n(ready.begin(), *count, tags);
    ready.erase(ready.begin(), ready.begin() + static_cast<ptrdiff_t>(*count));
    return {};
  });
}
