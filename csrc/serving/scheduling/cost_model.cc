#include "serving/scheduling/cost_model.h"

#include <algorithm>

namespace fastserve {

void CostModel::Record(size_t input_bytes, Nanos duration) {
  Window& window = windows_[WindowOf(input_bytes)];
  window.samples[window.count % kSamples] = duration;
  ++window.count;
  if (window.count >= kSamples && window.count % kRefreshEvery != 0) return;
  std::array<Nanos, kSamples> sorted = window.samples;
  const size_t filled = std::min(window.count, kSamples);
  const size_t rank = filled * 9 / 10;  // Of 32: the 29th, so three may be slower.
  const auto nth = sorted.begin() + static_cast<std::ptrdiff_t>(std::min(rank, filled - 1));
  std::nth_element(sorted.begin(), nth, sorted.begin() + static_cast<std::ptrdiff_t>(filled));
  window.p90 = *nth;
}

}  // namespace fastserve
