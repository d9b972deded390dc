#include "serving/scheduling/dynamic_batcher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <vector>

#include "serving/keeping_sink.h"

namespace fastserve {
namespace {

using Action = DynamicBatcher::Action;

// A line of requests, written as {rows, key, submitted, deadline}.
struct Waiting {
  int64_t rows = 1;
  uint64_t key = 0;
  Nanos submitted = 0;
  Nanos deadline = kNever;
};

class Line {
 public:
  Line() = default;
  explicit Line(const std::vector<Waiting>& waiting) {
    for (const Waiting& w : waiting) Add(w);
  }
  void Add(const Waiting& waiting) {
    RequestPtr request = sink_.Request(0, InputOf(DataType::kFp32, {waiting.rows, 0}, ""), 1);
    request->rows = waiting.rows;
    request->join_key = waiting.key;
    request->submitted_ns = waiting.submitted;
    request->deadline_ns = waiting.deadline;
    queue.push_back(std::move(request));
  }
  DynamicBatcher::Decision Ask(const DynamicBatcher& batcher, Nanos now, size_t idle = 1) {
    return batcher.Next(now, queue, idle, &chosen);
  }

 private:
  KeepingSink sink_{256};  // Before the requests that it outlives.

 public:
  std::vector<RequestPtr> queue;
  std::vector<uint32_t> chosen;
};

using Positions = std::vector<uint32_t>;

DynamicBatcher Batcher(int64_t rows_max, Nanos delay = 0, std::vector<int64_t> preferred = {}) {
  return DynamicBatcher({.batch_rows_max = rows_max,
                         .join_requests = true,
                         .queue_delay_max = delay,
                         .preferred_rows = std::move(preferred)});
}

TEST(DynamicBatcher, SleepsWhenNothingWaitsOrNoInstanceIsIdle) {
  Line line;
  EXPECT_EQ(line.Ask(Batcher(8), 0).action, Action::kSleep);
  line.Add({});
  EXPECT_EQ(line.Ask(Batcher(8), 0, 0).action, Action::kSleep);
  EXPECT_TRUE(line.chosen.empty());
}

TEST(DynamicBatcher, TakesWhatWaitsAtOnceWithoutADelay) {
  Line line({{.rows = 1}, {.rows = 2}, {.rows = 1}});
  const auto decision = line.Ask(Batcher(8), 0);
  EXPECT_EQ(decision.action, Action::kRun);
  EXPECT_EQ(decision.reason, CloseReason::kIdle);
  EXPECT_EQ(line.chosen, (Positions{0, 1, 2}));
}

TEST(DynamicBatcher, WaitsUntilTheOldestHasWaitedItsDelay) {
  Line line({{.submitted = 100}, {.submitted = 150}});
  const DynamicBatcher batcher = Batcher(8, 50);
  const auto early = line.Ask(batcher, 149);
  EXPECT_EQ(early.action, Action::kWaitUntil);
  EXPECT_EQ(early.until, 150);
  EXPECT_TRUE(line.chosen.empty());
  const auto late = line.Ask(batcher, 150);
  EXPECT_EQ(late.action, Action::kRun);
  EXPECT_EQ(late.reason, CloseReason::kDelay);
  EXPECT_EQ(line.chosen, (Positions{0, 1}));
}

TEST(DynamicBatcher, WaitsForCompanyAtMostHalfTheTimeOfADeadline) {
  Line line({{.submitted = 0}, {.key = 7, .submitted = 10, .deadline = 30}});
  const DynamicBatcher batcher = Batcher(8, 1000);
  EXPECT_EQ(line.Ask(batcher, 12).until, 20);
  EXPECT_EQ(line.Ask(batcher, 20).reason, CloseReason::kDelay);
  EXPECT_EQ(line.chosen, (Positions{0}));
}

TEST(DynamicBatcher, RunsAFullBatchAtOnceAndNeverMore) {
  Line line({{.rows = 3}, {.rows = 3}, {.rows = 2}, {.rows = 1}});
  const auto decision = line.Ask(Batcher(8, 1000), 0);
  EXPECT_EQ(decision.reason, CloseReason::kFull);
  EXPECT_EQ(line.chosen, (Positions{0, 1, 2}));
}

// Else large requests would wait for as long as small ones come.
TEST(DynamicBatcher, ClosesBeforeARequestThatDoesNotFitInsteadOfLettingOthersPass) {
  Line line({{.rows = 5}, {.rows = 4}, {.rows = 1}});
  const auto decision = line.Ask(Batcher(8, 1000), 0);
  EXPECT_EQ(decision.action, Action::kRun);
  EXPECT_EQ(decision.reason, CloseReason::kFull);
  EXPECT_EQ(line.chosen, (Positions{0}));
}

TEST(DynamicBatcher, PassesOverRequestsOfOtherShapes) {
  Line line({{.key = 1}, {.key = 2}, {.key = 1}, {.key = 3}, {.key = 1}});
  line.Ask(Batcher(8), 0);
  EXPECT_EQ(line.chosen, (Positions{0, 2, 4}));
}

TEST(DynamicBatcher, PassesOverNoMoreThanItsLimit) {
  Line line;
  line.Add({.key = 1});
  for (size_t i = 0; i < DynamicBatcher::kPassedOverMax; ++i) line.Add({.key = 2});
  line.Add({.key = 1});
  line.Ask(Batcher(8), 0);
  EXPECT_EQ(line.chosen, (Positions{0}));
}

// A request may have no rows: it fills nothing, but there is a limit to how many are looked at.
TEST(DynamicBatcher, LooksAtNoMoreRequestsThanItSays) {
  const DynamicBatcher batcher = Batcher(8);
  Line line;
  for (size_t i = 0; i < batcher.scan_max() + 20; ++i) line.Add({.rows = 0});
  EXPECT_EQ(line.Ask(batcher, 0).reason, CloseReason::kIdle);
  EXPECT_EQ(line.chosen.size(), batcher.scan_max());
}

TEST(DynamicBatcher, RunsTheLargestPreferredSizeThatIsThere) {
  const DynamicBatcher batcher = Batcher(8, 1000, {2, 4});
  Line line;
  line.Add({});
  EXPECT_EQ(line.Ask(batcher, 0).action, Action::kWaitUntil);
  line.Add({});
  EXPECT_EQ(line.Ask(batcher, 0).reason, CloseReason::kPreferred);
  EXPECT_EQ(line.chosen, (Positions{0, 1}));
  for (int i = 0; i < 3; ++i) line.Add({});
  EXPECT_EQ(line.Ask(batcher, 0).reason, CloseReason::kPreferred);
  EXPECT_EQ(line.chosen, (Positions{0, 1, 2, 3}));
  for (int i = 0; i < 3; ++i) line.Add({});
  EXPECT_EQ(line.Ask(batcher, 0).reason, CloseReason::kFull);
  EXPECT_EQ(line.chosen.size(), 8u);
}

TEST(DynamicBatcher, RunsOneRequestAtATimeWhenRequestsDoNotJoin) {
  Line line({{.rows = 2}, {.rows = 2}});
  const DynamicBatcher apart(
      {.batch_rows_max = 8, .join_requests = false, .queue_delay_max = 50, .preferred_rows = {}});
  EXPECT_EQ(line.Ask(apart, 0).reason, CloseReason::kIdle);
  EXPECT_EQ(line.chosen, (Positions{0}));
  const DynamicBatcher no_batch = Batcher(0, 50);
  EXPECT_EQ(line.Ask(no_batch, 0).action, Action::kRun);
  EXPECT_EQ(line.chosen, (Positions{0}));
  EXPECT_EQ(no_batch.scan_max(), 1u);
}

// The key is a hash: equal keys of unequal rows must not lead to a batch of garbage.
TEST(DynamicBatcher, LooksAtTypesShapesAndPresenceWhenKeysAreEqual) {
  KeepingSink sink;
  const auto request = [&](DataType type, Shape shape) {
    return sink.Request(0, InputOf(type, shape, ""), 1);
  };
  const RequestPtr a = request(DataType::kFp32, {1, 2});
  EXPECT_TRUE(MayJoin(*a, *request(DataType::kFp32, {5, 2})));
  EXPECT_FALSE(MayJoin(*a, *request(DataType::kInt32, {1, 2})));
  EXPECT_FALSE(MayJoin(*a, *request(DataType::kFp32, {1, 3})));
  EXPECT_FALSE(MayJoin(*a, *request(DataType::kFp32, {1, 2, 1})));
  const RequestPtr absent = request(DataType::kFp32, {1, 2});
  absent->inputs[0].present = false;
  EXPECT_FALSE(MayJoin(*a, *absent));
  const RequestPtr other_key = request(DataType::kFp32, {1, 2});
  other_key->join_key = 1;
  EXPECT_FALSE(MayJoin(*a, *other_key));
}

// ------------------------------------------------------------------------------------------------
// Traffic, replayed against a model of the rules that was written down a second time.

struct Expected {
  Action action = Action::kSleep;
  CloseReason reason = CloseReason::kIdle;
  Nanos until = kNever;
  Positions chosen;
};

// Straight from the rules, with no thought of cost: every prefix of those who could join is looked
// at on its own.
Expected Reference(const DynamicBatcher::Options& options, Nanos now,
                   const std::vector<RequestPtr>& queue) {
  if (queue.empty()) return {};
  Positions candidates = {0};
  int64_t rows = queue[0]->rows;
  bool someone_does_not_fit = false;
  Nanos until = kNever;
  size_t strangers = 0;
  const size_t looked_at =
      static_cast<size_t>(options.batch_rows_max) + DynamicBatcher::kPassedOverMax;
  for (uint32_t i = 0; i < std::min(queue.size(), looked_at); ++i) {
    const InferenceRequest& r = *queue[i];
    until = std::min(until, r.submitted_ns + options.queue_delay_max);
    if (r.deadline_ns != kNever) until = std::min(until, (r.submitted_ns + r.deadline_ns) / 2);
    if (i == 0) continue;
    if (rows == options.batch_rows_max) break;  // Full, even for one without rows.
    if (r.join_key != queue[0]->join_key) {
      if (++strangers == DynamicBatcher::kPassedOverMax) break;
      continue;
    }
    if (rows + r.rows > options.batch_rows_max) {
      someone_does_not_fit = true;
      break;
    }
    rows += r.rows;
    candidates.push_back(i);
  }
  if (rows == options.batch_rows_max) return {Action::kRun, CloseReason::kFull, kNever, candidates};
  for (size_t length = candidates.size(); length > 0; --length) {
    int64_t sum = 0;
    for (size_t i = 0; i < length; ++i) sum += queue[candidates[i]]->rows;
    if (std::ranges::count(options.preferred_rows, sum) == 0) continue;
    candidates.resize(length);
    return {Action::kRun, CloseReason::kPreferred, kNever, candidates};
  }
  if (someone_does_not_fit) return {Action::kRun, CloseReason::kFull, kNever, candidates};
  if (options.queue_delay_max == 0) return {Action::kRun, CloseReason::kIdle, kNever, candidates};
  if (now >= until) return {Action::kRun, CloseReason::kDelay, kNever, candidates};
  return {Action::kWaitUntil, CloseReason::kIdle, until, {}};
}

// Instances, a clock and arrivals, all made up from one seed.
class Simulation {
 public:
  explicit Simulation(uint32_t seed) : random_(seed) {
    options_.batch_rows_max = Pick(2, 16);
    options_.queue_delay_max = Pick(0, 2) == 0 ? 0 : Pick(1, 200);
    for (int64_t rows = 1; rows <= options_.batch_rows_max; ++rows) {
      if (Pick(0, 6) == 0) options_.preferred_rows.push_back(rows);
    }
    busy_until_.resize(static_cast<size_t>(Pick(1, 3)));
    keys_ = Pick(1, 3);
    gap_max_ = Pick(0, 60);
  }

  void Run(int requests) {
    const DynamicBatcher batcher(options_);
    Nanos next_arrival = 0;
    int arrived = 0;
    while (arrived < requests || !line_.queue.empty()) {
      while (arrived < requests && next_arrival <= now_) {
        Arrive(arrived++);
        next_arrival = now_ + Pick(0, gap_max_);
      }
      Nanos next = arrived < requests ? next_arrival : kNever;
      const Nanos until = Serve(batcher);
      next = std::min(next, until);
      for (const Nanos busy : busy_until_) {
        if (busy > now_) next = std::min(next, busy);
      }
      ASSERT_FALSE(::testing::Test::HasFailure());
      now_ = std::max(next == kNever ? now_ : next, now_);
    }
    EXPECT_EQ(ran_, static_cast<size_t>(requests));
  }

 private:
  int64_t Pick(int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random_);
  }

  void Arrive(int id) {
    Waiting waiting{.rows = Pick(1, options_.batch_rows_max),
                    .key = static_cast<uint64_t>(Pick(1, keys_)),
                    .submitted = now_};
    if (Pick(0, 2) > 0) waiting.rows = 1;
    if (Pick(0, 9) == 0) waiting.rows = 0;
    if (Pick(0, 5) == 0) waiting.deadline = now_ + 2 * Pick(1, 150);
    line_.Add(waiting);
    static_cast<TestRequest&>(*line_.queue.back()).id = id;
  }

  // Lets idle instances take what they may; returns when to look again.
  Nanos Serve(const DynamicBatcher& batcher) {
    while (true) {
      const auto idle = std::ranges::find_if(busy_until_, [&](Nanos t) { return t <= now_; });
      const bool has_idle = idle != busy_until_.end();
      const auto decision = line_.Ask(batcher, now_, has_idle ? 1 : 0);
      if (!has_idle) {
        EXPECT_EQ(decision.action, Action::kSleep);
        return kNever;
      }
      const Expected expected = Reference(options_, now_, line_.queue);
      EXPECT_EQ(decision.action, expected.action);
      EXPECT_EQ(line_.chosen, expected.chosen);
      if (decision.action == Action::kSleep) return kNever;
      if (decision.action == Action::kWaitUntil) {
        EXPECT_EQ(decision.until, expected.until);
        // Nobody waits longer than the delay while an instance is idle.
        EXPECT_LE(decision.until, line_.queue[0]->submitted_ns + options_.queue_delay_max);
        EXPECT_GT(decision.until, now_);
        return decision.until;
      }
      EXPECT_EQ(decision.reason, expected.reason);
      TakeChosen();
      *idle = now_ + Pick(0, 80);
      if (::testing::Test::HasFailure()) return kNever;
    }
  }

  void TakeChosen() {
    ASSERT_FALSE(line_.chosen.empty());
    ASSERT_EQ(line_.chosen[0], 0u);
    int64_t rows = 0;
    for (const uint32_t position : line_.chosen) {
      const auto& request = static_cast<const TestRequest&>(*line_.queue[position]);
      rows += request.rows;
      // In order within a key, and so each once.
      const auto [last, first] = last_of_key_.try_emplace(request.join_key, -1);
      EXPECT_GT(request.id, last->second);
      last->second = request.id;
    }
    EXPECT_LE(rows, options_.batch_rows_max);
    ran_ += line_.chosen.size();
    for (size_t i = line_.chosen.size(); i-- > 0;) {
      line_.queue.erase(line_.queue.begin() + line_.chosen[i]);
    }
  }

  std::mt19937 random_;
  DynamicBatcher::Options options_;
  Line line_;
  Nanos now_ = 0;
  std::vector<Nanos> busy_until_;
  int64_t keys_ = 1;
  int64_t gap_max_ = 0;
  size_t ran_ = 0;
  std::map<uint64_t, int> last_of_key_;
};

TEST(DynamicBatcher, ReplaysSeededTrafficAsTheRulesSay) {
  for (uint32_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    Simulation simulation(seed);
    simulation.Run(200);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace fastserve
