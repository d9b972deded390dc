// Timing for the codecs' micro-benchmarks: the best of a few rounds, in nanoseconds a call.
#pragma once

#include <algorithm>

#include "base/clock.h"

namespace fastserve {

// The quickest round is the one that the machine disturbed least.
template <typename Call>
double BestNanosPerCall(int calls, Call&& call) {
  constexpr int kRounds = 15;
  Nanos best = kNever;
  for (int round = 0; round < kRounds; ++round) {
    const Nanos begin = NowNanos();
    for (int i = 0; i < calls; ++i) call();
    best = std::min(best, NowNanos() - begin);
  }
  return static_cast<double>(best) / calls;
}

}  // namespace fastserve
