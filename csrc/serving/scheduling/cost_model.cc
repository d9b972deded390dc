#include "serving/scheduling/cost_model.h"

namespace fastserve {

void CostModel::Record(size_t input_bytes, Nanos duration, Nanos now) {
  const size_t index = WindowOf(input_bytes);
  Window& window = windows_[index];
  window.samples[window.count % kSamples] = duration;
  ++window.count;
  window.learned_ns.store(now, std::memory_order_relaxed);
  if (window.count >= kSamples && window.count % kRefreshEvery != 0) return;
  std::array<Nanos, kSamples> sorted = window.samples;
  const size_t filled = std::min(window.count, kSamples);
  const size_t rank = filled * 9 / 10;  // Of 32: the 29th, so three may be slower.
  const auto nth = sorted.begin() + static_cast<std::ptrdiff_t>(std::min(rank, filled - 1));
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>((filled - 1) / 2);
  const auto end = sorted.begin() + static_cast<std::ptrdiff_t>(filled);
  std::nth_element(sorted.begin(), nth, end);
  window.p90.store(*nth, std::memory_order_relaxed);
  if (middle < nth) std::nth_element(sorted.begin(), middle, nth);
  window.median.store(*middle, std::memory_order_relaxed);
  const uint64_t seen = seen_.load(std::memory_order_relaxed);
  seen_.store(seen | uint64_t{1} << index, std::memory_order_relaxed);
}

CostModel::Typical CostModel::TypicalOf(size_t input_bytes) const {
  const uint64_t as_small = (uint64_t{2} << WindowOf(input_bytes)) - 1;
  const uint64_t seen = seen_.load(std::memory_order_relaxed) & as_small;
  if (seen == 0) return {};
  const Window& window = windows_[static_cast<size_t>(std::bit_width(seen)) - 1];
  return {.run = window.median.load(std::memory_order_relaxed),
          .learned_ns = window.learned_ns.load(std::memory_order_relaxed)};
}

}  // namespace fastserve
