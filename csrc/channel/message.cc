#include "channel/message.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "channel/channel_layout.h"

namespace fastserve {
namespace {

struct Head {
  uint32_t tensors;
  uint32_t wanted;
  uint32_t model_bytes;
  uint32_t version_bytes;
  uint32_t id_bytes;
  uint32_t spare;
  int64_t max_batch_size;
  std::array<uint64_t, 2> zeros;
};
static_assert(sizeof(Head) == 48);

struct Record {
  uint32_t name_bytes;
  uint8_t type;
  uint8_t rank;
  uint16_t flags;
  uint64_t offset;
  uint64_t bytes;
  std::array<int64_t, Shape::kMaxRank> dims;
};
static_assert(sizeof(Record) == 120);

template <typename T>
void Put(const T& value, std::span<std::byte>* out) {
  std::memcpy(out->data(), &value, sizeof value);
  *out = out->subspan(sizeof value);
}

void PutText(std::string_view text, std::span<std::byte>* out) {
  std::ranges::copy(std::as_bytes(std::span(text)), out->begin());
  *out = out->subspan(text.size());
}

// Takes what it reads off the front.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}

  size_t left() const { return rest_.size(); }
  // The caller knows that there are as many bytes.
  template <typename T>
  T Take() {
    T value;
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_ = rest_.subspan(sizeof value);
    return value;
  }
  Status TakeText(uint32_t bytes, std::string_view* out) {
    if (bytes > ChannelMessage::kTextBytesMax || bytes > rest_.size()) {
      return InvalidArgument("the message has a text of ", bytes, " bytes, expected at most ",
                             std::min(ChannelMessage::kTextBytesMax, rest_.size()), " there");
    }
    *out = {reinterpret_cast<const char*>(rest_.data()), bytes};
    rest_ = rest_.subspan(bytes);
    return {};
  }

 private:
  std::span<const std::byte> rest_;
};

// `out` has its name.
Status ReadTensor(const Record& record, MessageUse use, ChannelTensor* out) {
  if (record.type >= kDataTypeCount) {
    return InvalidArgument("tensor '", out->name, "': there is no datatype ", int{record.type});
  }
  if (record.rank > Shape::kMaxRank) {
    return InvalidArgument("tensor '", out->name, "' has ", int{record.rank},
                           " dimensions, expected at most ", Shape::kMaxRank);
  }
  out->type = static_cast<DataType>(record.type);
  out->shape = Shape(std::span(record.dims).first(record.rank));
  out->offset = record.offset;
  out->bytes = record.bytes;
  out->flags = record.flags;
  if (use == MessageUse::kDescription) return {};
  if (record.offset % ChannelLayout::kAlignment != 0 || record.bytes > UINT64_MAX - record.offset) {
    return InvalidArgument("tensor '", out->name, "' is said to have ", record.bytes,
                           " bytes from offset ", record.offset, " on, expected a multiple of ",
                           ChannelLayout::kAlignment);
  }
  return ValidateTensorSize(out->name, out->type, out->shape, out->bytes);
}

}  // namespace

void ChannelMessage::Clear() {
  model = version = id = {};
  tensors.clear();
  wanted.clear();
  max_batch_size = 0;
}

size_t MessageBytes(const ChannelMessage& message) {
  size_t bytes = sizeof(Head) + message.model.size() + message.version.size() + message.id.size();
  for (const ChannelTensor& tensor : message.tensors) bytes += sizeof(Record) + tensor.name.size();
  for (const std::string_view name : message.wanted) bytes += sizeof(uint32_t) + name.size();
  return bytes;
}

void WriteMessage(const ChannelMessage& message, std::span<std::byte> out) {
  FS_CHECK_OP(out.size(), ==, MessageBytes(message));
  Put(Head{.tensors = static_cast<uint32_t>(message.tensors.size()),
           .wanted = static_cast<uint32_t>(message.wanted.size()),
           .model_bytes = static_cast<uint32_t>(message.model.size()),
           .version_bytes = static_cast<uint32_t>(message.version.size()),
           .id_bytes = static_cast<uint32_t>(message.id.size()),
           .spare = 0,
           .max_batch_size = message.max_batch_size,
           .zeros = {}},
      &out);
  for (const ChannelTensor& tensor : message.tensors) {
    Record record{.name_bytes = static_cast<uint32_t>(tensor.name.size()),
                  .type = static_cast<uint8_t>(tensor.type),
                  .rank = static_cast<uint8_t>(tensor.shape.rank()),
                  .flags = tensor.flags,
                  .offset = tensor.offset,
                  .bytes = tensor.bytes,
                  .dims = {}};
    std::ranges::copy(tensor.shape.dims(), record.dims.begin());
    Put(record, &out);
  }
  for (const std::string_view name : message.wanted) Put(static_cast<uint32_t>(name.size()), &out);
  PutText(message.model, &out);
  PutText(message.version, &out);
  PutText(message.id, &out);
  for (const ChannelTensor& tensor : message.tensors) PutText(tensor.name, &out);
  for (const std::string_view name : message.wanted) PutText(name, &out);
}

Status ReadMessage(std::span<const std::byte> message, MessageUse use, ChannelMessage* out) {
  if (message.size() < sizeof(Head)) {
    return InvalidArgument("the message has ", message.size(), " bytes, expected at least ",
                           sizeof(Head));
  }
  Reader reader(message);
  const Head head = reader.Take<Head>();
  if (head.tensors > ChannelMessage::kTensorsMax || head.wanted > ChannelMessage::kTensorsMax) {
    return InvalidArgument("the message has ", head.tensors, " tensors and ", head.wanted,
                           " wanted outputs, expected at most ", ChannelMessage::kTensorsMax);
  }
  const size_t fixed = size_t{head.tensors} * sizeof(Record) + head.wanted * sizeof(uint32_t);
  if (reader.left() < fixed) {
    return InvalidArgument("the message has ", message.size(), " bytes, expected at least ",
                           sizeof(Head) + fixed);
  }
  // The texts come behind what is fixed, and are read beside it.
  Reader text(message.subspan(sizeof(Head) + fixed));
  out->max_batch_size = head.max_batch_size;
  FS_RETURN_IF_ERROR(text.TakeText(head.model_bytes, &out->model));
  FS_RETURN_IF_ERROR(text.TakeText(head.version_bytes, &out->version));
  FS_RETURN_IF_ERROR(text.TakeText(head.id_bytes, &out->id));
  out->tensors.resize(head.tensors);
  for (ChannelTensor& tensor : out->tensors) {
    const auto record = reader.Take<Record>();
    FS_RETURN_IF_ERROR(text.TakeText(record.name_bytes, &tensor.name));
    FS_RETURN_IF_ERROR(ReadTensor(record, use, &tensor));
  }
  out->wanted.resize(head.wanted);
  for (std::string_view& name : out->wanted) {
    FS_RETURN_IF_ERROR(text.TakeText(reader.Take<uint32_t>(), &name));
  }
  if (text.left() > 0) {
    return InvalidArgument("the message has ", text.left(), " bytes more than it says");
  }
  return {};
}

}  // namespace fastserve
