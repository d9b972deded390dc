#include "gateway/memory/shared_tensors.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "gateway/memory/may_change.h"

namespace fastserve {
namespace {

bool Overlap(std::span<const std::byte> a, std::span<const std::byte> b) {
  return !a.empty() && !b.empty() && a.data() < b.data() + b.size() &&
         b.data() < a.data() + a.size();
}

// What is wrong with the region of a tensor.
Status Of(std::string_view kind, std::string_view name, const Status& status) {
  return MakeStatus(status.code(), kind, " '", name, "': ", status.message());
}

}  // namespace

Status SharedTensors::AddOutput(const RegionRegistry& regions, const InferOutput& output,
                                size_t index, DataType type) {
  const SharedMemoryRange& memory = output.memory;
  Result<RegionRange> found = regions.Resolve(memory.region, memory.offset, memory.bytes);
  if (!found.ok()) return Of("output", output.name, found.status());
  if (OverlapsAnOutput(found->bytes)) {
    return InvalidArgument("output '", output.name, "': its ", memory.bytes, " bytes at offset ",
                           memory.offset, " of region '", memory.region,
                           "' overlap those of another output");
  }
  Hold(found->region);
  outputs_.push_back({std::string(output.name),
                      index,
                      type,
                      std::string(memory.region),
                      memory.offset,
                      {found->bytes, found->region.buffer()}});
  return {};
}

Status SharedTensors::FillInput(const RegionRegistry& regions, InferInput* input,
                                TensorArena& arena, BufferRef* owner) {
  const SharedMemoryRange& memory = input->memory;
  Result<RegionRange> found = regions.Resolve(memory.region, memory.offset, memory.bytes);
  if (!found.ok()) return Of("input", input->name, found.status());
  Hold(found->region);
  Tensor& tensor = input->tensor;
  if (MayChangeWhileRead(tensor.type) && !OverlapsAnOutput(found->bytes)) {
    tensor.bytes = found->bytes;
    *owner = found->region.buffer();
    return ValidateTensor(input->name, tensor);
  }
  const std::span<std::byte> copy = arena.Allocate(found->bytes.size());
  if (copy.size() < found->bytes.size()) {
    return Unavailable("no memory for input '", input->name, "' of ", found->bytes.size(),
                       " bytes, try again later");
  }
  if (!copy.empty()) std::memcpy(copy.data(), found->bytes.data(), copy.size());
  tensor.bytes = copy;
  *owner = arena.OwnerOf(copy);
  return ValidateTensor(input->name, tensor);
}

void SharedTensors::OfferPlaces(size_t count, InferenceRequest* request) const {
  if (outputs_.empty()) return;
  request->places.resize(count);
  for (const SharedOutput& output : outputs_) {
    if (MayChangeWhileRead(output.type)) request->places[output.index] = output.place;
  }
}

void SharedTensors::Place(std::span<ResponseOutput> response) noexcept {
  for (const SharedOutput& output : outputs_) {
    ResponseOutput& computed = response[output.index];
    const std::span<const std::byte> from = computed.tensor.bytes;
    const std::span<std::byte> to = output.place.bytes;
    if (from.size() > to.size()) {
      misfit_ = MakeStatus(Code::kInvalidArgument, "output '", output.name, "' has ", from.size(),
                           " bytes, but shared_memory_byte_size leaves room for ", to.size(),
                           " at offset ", output.offset, " of region '", output.region, "'");
      continue;
    }
    if (!from.empty() && from.data() != to.data()) {
      std::memcpy(to.data(), from.data(), from.size());
    }
    computed.tensor.bytes = to.first(from.size());
    computed.owner = output.place.owner;
  }
}

Status SharedTensors::Check() const {
  if (!misfit_.ok()) return misfit_;
  for (const ShmRegionRef& region : regions_) {
    if (region->is_poisoned()) return region->CheckUsable();
  }
  return {};
}

const SharedOutput* SharedTensors::Find(size_t index) const {
  const auto found = std::ranges::find(outputs_, index, &SharedOutput::index);
  return found == outputs_.end() ? nullptr : &*found;
}

void SharedTensors::Clear() noexcept {
  outputs_.clear();
  regions_.clear();
  misfit_ = Status();
}

bool SharedTensors::OverlapsAnOutput(std::span<const std::byte> bytes) const {
  return std::ranges::any_of(
      outputs_, [&](const SharedOutput& output) { return Overlap(bytes, output.place.bytes); });
}

void SharedTensors::Hold(const ShmRegionRef& region) {
  const auto is_it = [&](const ShmRegionRef& held) { return &*held == &*region; };
  if (std::ranges::none_of(regions_, is_it)) regions_.push_back(region);
}

}  // namespace fastserve
