// LoadMeter: which share of a model's instances has been running lately.
//
// A mean over time in which each moment counts the less the longer ago it was: e^(-age / decay), so
// about the last second at the default. It is told of every instance that is taken and given back.
//
//   LoadMeter meter(instances);
//   meter.Note(now, +1);  ...  meter.Note(now, -1);
//   meter.Load(now)                                    // 0..1
//
// A time before one that it was told already is taken for that one: two threads may report in
// another order than they looked at the clock.
//
// Threads: none of its own; the Scheduler guards it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "base/clock.h"

namespace fastserve {

class LoadMeter {
 public:
  explicit LoadMeter(size_t instances, Nanos decay = kSecond)
      : instances_(static_cast<double>(instances)), decay_(static_cast<double>(decay)) {}

  // From now on `change` more instances run (or fewer).
  void Note(Nanos now, int change) {
    load_ = Load(now);
    noted_ns_ = std::max(noted_ns_, now);
    busy_ += change;
  }

  double Load(Nanos now) const {
    const double passed = now > noted_ns_ ? static_cast<double>(now - noted_ns_) / decay_ : 0;
    // Runs are mostly short, and then the first terms are as good and cost little.
    const bool is_short = passed < 1.0 / 64;
    const double kept = is_short ? 1 - passed * (1 - passed / 2) : std::exp(-passed);
    return load_ * kept + static_cast<double>(busy_) / instances_ * (1 - kept);
  }

 private:
  const double instances_;
  const double decay_;
  double load_ = 0;  // At noted_ns_.
  Nanos noted_ns_ = 0;
  int busy_ = 0;  // Since then.
};

}  // namespace fastserve
