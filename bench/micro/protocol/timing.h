// Timing for the codecs' micro-benchmarks: the best of many short rounds, in nanoseconds
// a call.
#pragma once

#include <algorithm>

#include "base/clock.h"

namespace fastserve {

// The quickest round is the one that the machine disturbed least; `calls` should take about a
// millisecond, so that some rounds are not interrupted at all.
template <typename Call>
double BestNanosPerCall(int calls, Call&& call) {
  constexpr int kRounds = 300;
  Nanos best = kNever;
  for (int round = 0; round < kRounds; ++round) {
    const Nanos begin = NowNanos();
    for (int i = 0; i < calls; ++i) call();
    best = std::min(best, NowNanos() - begin);
  }
  return static_cast<double>(best) / calls;
}

}  // namespace fastserve
