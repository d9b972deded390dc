#include "memory/buddy_heap.h"

#include <algorithm>
#include <bit>

namespace fastserve {

BuddyHeap::BuddyHeap(size_t bytes) {
  const auto units = static_cast<uint32_t>(std::min(bytes, kBytesMax) / kBlockBytesMin);
  states_.resize(units, kInner);
  links_.resize(units);
  first_.fill(kNone);
  // The largest blocks that fit, one after the other: each begins at a multiple of its size.
  for (uint32_t unit = 0; unit < units;) {
    const int room = std::countr_zero(std::bit_floor(units - unit));
    const int order = std::min(unit == 0 ? kOrders - 1 : std::countr_zero(unit), room);
    Insert(unit, order);
    unit += uint32_t{1} << order;
  }
}

int BuddyHeap::OrderFor(size_t bytes) {
  const size_t units = bytes / kBlockBytesMin + (bytes % kBlockBytesMin != 0 ? 1 : 0);
  return std::countr_zero(std::bit_ceil(units));
}

std::optional<size_t> BuddyHeap::Allocate(size_t bytes) {
  const int wanted = OrderFor(bytes);
  int order = wanted;
  while (order < kOrders && first_[order] == kNone) ++order;
  if (order >= kOrders) return std::nullopt;
  const uint32_t unit = first_[order];
  Remove(unit, order);
  while (order > wanted) {
    --order;
    Insert(unit + (uint32_t{1} << order), order);
  }
  states_[unit] = static_cast<uint8_t>(kUsed | wanted);
  bytes_in_use_ += BytesOfOrder(wanted);
  return size_t{unit} * kBlockBytesMin;
}

bool BuddyHeap::Free(size_t offset) {
  const size_t bytes = BytesOf(offset);
  if (bytes == 0) return false;
  bytes_in_use_ -= bytes;
  auto unit = static_cast<uint32_t>(offset / kBlockBytesMin);
  int order = OrderFor(bytes);
  states_[unit] = kInner;
  while (order + 1 < kOrders) {
    const uint32_t buddy = unit ^ (uint32_t{1} << order);
    if (buddy >= states_.size() || states_[buddy] != (kFree | order)) break;
    Remove(buddy, order);
    unit = std::min(unit, buddy);
    ++order;
  }
  Insert(unit, order);
  return true;
}

size_t BuddyHeap::BytesOf(size_t offset) const {
  const size_t unit = offset / kBlockBytesMin;
  if (offset % kBlockBytesMin != 0 || unit >= states_.size()) return 0;
  const uint8_t state = states_[unit];
  return (state & kUsed) != 0 ? BytesOfOrder(state & ~kUsed) : 0;
}

void BuddyHeap::Insert(uint32_t unit, int order) {
  states_[unit] = static_cast<uint8_t>(kFree | order);
  links_[unit] = {.next = first_[order], .previous = kNone};
  if (first_[order] != kNone) links_[first_[order]].previous = unit;
  first_[order] = unit;
}

void BuddyHeap::Remove(uint32_t unit, int order) {
  const Links links = links_[unit];
  (links.previous == kNone ? first_[order] : links_[links.previous].next) = links.next;
  if (links.next != kNone) links_[links.next].previous = links.previous;
  states_[unit] = kInner;
}

}  // namespace fastserve
