#include "serving/scheduling/wait_estimate.h"

#include <algorithm>
#include <cmath>

namespace fastserve {
namespace {

// Of a mean that follows: each sample counts this much, the first ones as in a plain mean.
constexpr double kWeight = 1.0 / 8;
// More instances than this are not looked at one by one: the first of these stands for all.
constexpr size_t kLookedAtMax = 32;

}  // namespace

WaitEstimate::WaitEstimate(const Options& options, const CostModel* cost)
    : options_(options), cost_(cost), ends_(options.instances, kNever), idle_(options.instances) {}

void WaitEstimate::Learn(Number* mean, double sample, double weight) const {
  const double old = mean->load(std::memory_order_relaxed);
  mean->store(old + (sample - old) * weight, std::memory_order_relaxed);
}

void WaitEstimate::NoteTake(const Take& take) {
  const auto requests = static_cast<double>(std::max(take.requests, size_t{1}));
  const double weight = std::max(kWeight, 1.0 / static_cast<double>(++takes_));
  Learn(&request_bytes_, static_cast<double>(take.bytes) / requests, weight);
  Learn(&request_rows_, static_cast<double>(take.rows) / requests, weight);
  if (turn_ns_ != 0) {
    // With many instances turns come in bunches: a mean over several rounds of them.
    const double turns = static_cast<double>(++turns_);
    const double rounds = kWeight / static_cast<double>(options_.instances);
    const auto gap = static_cast<double>(std::max(take.now - turn_ns_, Nanos{0}));
    Learn(&gap_, gap, std::max(rounds, 1 / turns));
  }
  turn_ns_ = take.left > 0 && take.idle == 0 ? take.now : 0;
  if (take.left > 0) {
    const bool is_first = turn_bytes_.load(std::memory_order_relaxed) == 0;
    Learn(&turn_requests_, requests, is_first ? 1 : kWeight);
    turn_bytes_.store(std::max(take.bytes, size_t{1}), std::memory_order_relaxed);
  }
  ends_[take.instance] = take.now + cost_->TypicalOf(take.bytes).run;
  idle_.store(take.idle, std::memory_order_relaxed);
  Publish();
}

void WaitEstimate::NoteFree(size_t instance, size_t idle) {
  ends_[instance] = kNever;
  idle_.store(idle, std::memory_order_relaxed);
}

void WaitEstimate::Publish() {
  const size_t looked_at = std::min(ends_.size(), kLookedAtMax);
  const auto end = ends_.begin() + static_cast<std::ptrdiff_t>(looked_at);
  free_at_.store(*std::min_element(ends_.begin(), end), std::memory_order_relaxed);
}

WaitEstimate::Turn WaitEstimate::TurnOf(Nanos now, size_t ahead, int64_t rows) const {
  double taken = turn_requests_.load(std::memory_order_relaxed);
  if (taken < 1)
    taken = std::floor(static_cast<double>(options_.rows_max) / static_cast<double>(rows));
  taken = std::max(taken, 1.0);
  const double turn = std::floor(static_cast<double>(ahead) / taken);
  const auto idle = static_cast<double>(idle_.load(std::memory_order_relaxed));
  Turn found;
  found.shared = turn > 0 ? taken : static_cast<double>(ahead) + 1;
  if (turn < idle) return found;
  double gap = gap_.load(std::memory_order_relaxed);
  const Nanos run = cost_->TypicalOf(turn_bytes_.load(std::memory_order_relaxed)).run;
  if (run > 0) gap = std::min(gap, 2 * static_cast<double>(run));
  const double turns_away = idle > 0 ? turn - idle + 1 : turn;
  found.start = static_cast<Nanos>(turns_away * gap);
  const Nanos free_at = free_at_.load(std::memory_order_relaxed);
  if (idle == 0 && free_at != kNever) found.start += std::max(free_at - now, Nanos{0});
  return found;
}

WaitEstimate::Answer WaitEstimate::Expect(Nanos now, size_t ahead, size_t bytes,
                                          int64_t rows) const {
  const Turn turn = TurnOf(now, ahead, std::max(rows, int64_t{1}));
  const auto run_bytes = static_cast<size_t>(turn.shared * static_cast<double>(bytes));
  const CostModel::Typical typical = cost_->TypicalOf(run_bytes);
  return {.after = turn.start + typical.run, .learned_ns = typical.learned_ns};
}

Nanos WaitEstimate::ExpectAverage(Nanos now, size_t ahead) const {
  const auto rows = static_cast<int64_t>(request_rows_.load(std::memory_order_relaxed));
  const auto bytes = static_cast<size_t>(request_bytes_.load(std::memory_order_relaxed));
  const Turn turn = TurnOf(now, ahead, std::max(rows, int64_t{1}));
  const auto run_bytes = static_cast<size_t>(turn.shared * static_cast<double>(bytes));
  const Nanos run = cost_->TypicalOf(run_bytes).run;
  if (run == 0 && turn.start == 0) return 0;
  // A batch that is not full waits for company, whether an instance is free or not.
  const bool is_full = turn.shared * static_cast<double>(std::max(rows, int64_t{1})) >=
                       static_cast<double>(options_.rows_max);
  return (is_full ? turn.start : std::max(turn.start, options_.queue_delay_max)) + run;
}

}  // namespace fastserve
