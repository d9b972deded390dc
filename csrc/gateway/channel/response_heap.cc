#include "gateway/channel/response_heap.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "gateway/memory/may_change.h"

namespace fastserve {
namespace {

// Smaller outputs are copied: to look for room beforehand costs as much.
constexpr size_t kLentBytesMin = size_t{16} << 10;
// Of a response's block, for its message: more than messages have, as long as names are short.
constexpr size_t kMessageRoom = 4096;

constexpr size_t RoundUp(size_t bytes) {
  constexpr size_t kTo = ChannelLayout::kAlignment;
  return (bytes + kTo - 1) / kTo * kTo;
}

// Of an output as served, for so many rows; nothing when only the engine knows.
std::optional<size_t> BytesBeforehand(const TensorSpec& spec, bool has_batch, int64_t rows) {
  if (!MayChangeWhileRead(spec.type)) return std::nullopt;
  Shape shape = spec.shape;
  if (has_batch && shape.rank() > 0) shape.Set(0, rows);
  const std::optional<int64_t> elements = shape.Elements();
  size_t bytes = 0;
  if (!elements ||
      __builtin_mul_overflow(static_cast<size_t>(*elements), ElementBytes(spec.type), &bytes)) {
    return std::nullopt;
  }
  return bytes;
}

}  // namespace

void Make(std::span<const ChannelCopy> copies) {
  for (const ChannelCopy& copy : copies) std::ranges::copy(copy.from, copy.to.begin());
}

size_t BytesOf(std::span<const ChannelCopy> copies) {
  size_t bytes = 0;
  for (const ChannelCopy& copy : copies) bytes += copy.from.size();
  return bytes;
}

ResponseHeap::ResponseHeap(std::span<std::byte> segment)
    : segment_(segment),
      layout_(ChannelLayout::For(segment.size())),
      heap_(layout_.server_heap.bytes) {}

std::optional<uint64_t> ResponseHeap::Allocate(size_t bytes) {
  const std::optional<size_t> block = heap_.Allocate(bytes);
  if (!block) return std::nullopt;
  return layout_.server_heap.begin + *block;
}

bool ResponseHeap::Free(uint64_t offset) {
  if (!layout_.server_heap.Contains(offset, 1)) return false;
  return heap_.Free(offset - layout_.server_heap.begin);
}

bool ResponseHeap::CouldHold(size_t bytes) const {
  return bytes <= std::bit_floor(layout_.server_heap.bytes) - kMessageRoom;
}

// ------------------------------------------------------------------------------------------------

// Whether they are bytes of a request, aligned as clients expect it.
bool ResponseHeap::IsAlias(std::span<const std::byte> bytes) const {
  const std::byte* const begin = segment_.data() + layout_.client_heap.begin;
  return bytes.data() >= begin && bytes.data() < begin + layout_.client_heap.bytes &&
         static_cast<size_t>(bytes.data() - begin) % ChannelLayout::kAlignment == 0;
}

bool ResponseHeap::LiesIn(uint64_t block, std::span<const std::byte> bytes) const {
  if (block == 0) return false;
  const std::byte* const begin = segment_.data() + block;
  return bytes.data() >= begin &&
         bytes.data() < begin + heap_.BytesOf(block - layout_.server_heap.begin);
}

void ResponseHeap::BeginMessage(const Servable& servable, std::string_view id) {
  message_.Clear();
  message_.model = servable.name();
  message_.version = servable.version_text();
  message_.id = id;
}

bool ResponseHeap::PlaceResponse(const SaidResponse& said, Descriptor* out,
                                 std::vector<ChannelCopy>* copies) {
  constexpr uint64_t kNotPlaced = 0;  // The head of the segment is there.
  BeginMessage(*said.servable, said.id);
  copies->clear();
  // A block that was lent is the response's if nothing has to be copied into another one.
  const bool uses_lent = said.lent != 0 && std::ranges::all_of(said.wanted, [&](size_t wanted) {
                           const ServedOutput& served = said.servable->outputs()[wanted];
                           const std::span<const std::byte> bytes =
                               said.outputs[served.index].tensor.bytes;
                           return LiesIn(said.lent, bytes) || IsAlias(bytes);
                         });
  size_t copied_bytes = 0;
  for (const size_t wanted : said.wanted) {
    const ServedOutput& served = said.servable->outputs()[wanted];
    const Tensor& tensor = said.outputs[served.index].tensor;
    uint64_t offset = kNotPlaced;
    if (uses_lent || IsAlias(tensor.bytes)) {
      offset = static_cast<uint64_t>(tensor.bytes.data() - segment_.data());
    } else {
      copies->push_back({{}, tensor.bytes});
      copied_bytes += RoundUp(tensor.bytes.size());
    }
    message_.tensors.push_back({.name = served.spec.name,
                                .type = tensor.type,
                                .shape = tensor.shape,
                                .offset = offset,
                                .bytes = tensor.bytes.size(),
                                .flags = 0});
  }
  out->bytes = MessageBytes(message_);
  const std::optional<uint64_t> block =
      uses_lent ? said.lent : Allocate(RoundUp(out->bytes) + copied_bytes);
  if (!block) return false;
  out->offset = *block;
  uint64_t next = *block + RoundUp(out->bytes);
  auto copy = copies->begin();
  for (ChannelTensor& placed : message_.tensors) {
    if (placed.offset != kNotPlaced) continue;
    placed.offset = next;
    (copy++)->to = segment_.subspan(next, placed.bytes);
    next += RoundUp(placed.bytes);
  }
  WriteMessage(message_, segment_.subspan(out->offset, out->bytes));
  return true;
}

bool ResponseHeap::PlaceMessage(const ChannelMessage& message, Descriptor* out) {
  const size_t bytes = MessageBytes(message);
  const std::optional<uint64_t> block = Allocate(bytes);
  if (!block) return false;
  out->offset = *block;
  out->bytes = bytes;
  WriteMessage(message, segment_.subspan(*block, bytes));
  return true;
}

void ResponseHeap::PlaceText(std::string_view text, Descriptor* out) {
  if (text.empty()) return;
  const std::optional<uint64_t> block = Allocate(text.size());
  if (!block) return;
  out->offset = *block;
  out->bytes = text.size();
  std::memcpy(segment_.data() + *block, text.data(), text.size());
}

uint64_t ResponseHeap::Lend(const Servable& servable, std::string_view id,
                            std::span<const size_t> wanted, int64_t rows,
                            std::vector<OutputPlace>* places) {
  BeginMessage(servable, id);
  size_t bytes = 0;
  for (const size_t number : wanted) {
    const TensorSpec& spec = servable.outputs()[number].spec;
    const std::optional<size_t> known = BytesBeforehand(spec, servable.has_batch_dimension(), rows);
    if (!known || __builtin_add_overflow(bytes, RoundUp(*known), &bytes)) return 0;
    message_.tensors.emplace_back().name = spec.name;
    message_.tensors.back().bytes = *known;
  }
  if (bytes < kLentBytesMin) return 0;
  // How long a message is depends on nothing but its texts and how many tensors there are.
  const size_t message_bytes = RoundUp(MessageBytes(message_));
  const std::optional<uint64_t> block = Allocate(message_bytes + bytes);
  if (!block) return 0;
  uint64_t next = *block + message_bytes;
  places->assign(servable.signature().outputs.size(), OutputPlace());
  for (size_t i = 0; i < wanted.size(); ++i) {
    OutputPlace& place = (*places)[servable.outputs()[wanted[i]].index];
    place.bytes = segment_.subspan(next, message_.tensors[i].bytes);
    next += RoundUp(message_.tensors[i].bytes);
  }
  return *block;
}

}  // namespace fastserve
