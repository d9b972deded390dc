// Hours of traffic in seconds: whatever comes, nothing is lost and nobody is treated unfairly.
//
// A failure names its seed: FASTSERVE_SEED=<seed> replays that world alone, FASTSERVE_SEEDS=<count>
// plays more of them.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/world.h"

namespace fastserve {
namespace {

constexpr uint64_t kSeeds = 2500;
constexpr uint64_t kSeedsToFindAFault = 200;

// The number in an environment variable, or `otherwise`.
uint64_t NumberFrom(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::stoull(text);
}

std::string Lines(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += "\n  " + line;
  return text;
}

TEST(SchedulerSim, LosesNothingAndIsFairInEveryWorld) {
  const uint64_t first = NumberFrom("FASTSERVE_SEED", 1);
  const bool is_replay = std::getenv("FASTSERVE_SEED") != nullptr;
  const uint64_t last = is_replay ? first : NumberFrom("FASTSERVE_SEEDS", kSeeds);
  for (uint64_t seed = first; seed <= last && !HasFailure(); ++seed) {
    const std::vector<std::string> complaints = World(seed, DrawPlan(seed)).Run();
    EXPECT_TRUE(complaints.empty()) << "FASTSERVE_SEED=" << seed << Lines(complaints);
  }
}

// The same seed is the same world to the last nanosecond: otherwise a failure could not be
// replayed.
TEST(SchedulerSim, PlaysTheSameWorldForTheSameSeed) {
  const auto play = [](uint64_t seed) {
    World world(seed, DrawPlan(seed));
    world.Run();
    return std::pair(world.ended_ns(), world.good_rows());
  };
  for (uint64_t seed = 1; seed <= 20; ++seed) EXPECT_EQ(play(seed), play(seed)) << "seed " << seed;
}

// A world that cannot complain proves nothing.
class SchedulerSimFault : public testing::TestWithParam<std::pair<Fault, const char*>> {};

TEST_P(SchedulerSimFault, IsNoticed) {
  const auto [fault, expected] = GetParam();
  std::string all;
  for (uint64_t seed = 1; seed <= kSeedsToFindAFault; ++seed) {
    Plan plan = DrawPlan(seed);
    plan.fault = fault;
    all += Lines(World(seed, plan).Run());
    if (all.find(expected) != std::string::npos) return;
  }
  FAIL() << "nobody complained that it " << expected << all.substr(0, 2000);
}

INSTANTIATE_TEST_SUITE_P(
    EachOnItsOwn, SchedulerSimFault,
    testing::Values(std::pair(Fault::kSleepsBlindly, "never ended"),
                    std::pair(Fault::kForgetsToWake, "never ended"),
                    std::pair(Fault::kSubmitsBackwards, "overtook another"),
                    std::pair(Fault::kMixesRows, "was answered with another's rows"),
                    std::pair(Fault::kNeverSweeps, "was told late"),
                    std::pair(Fault::kHidesDeadlines, "was run after its deadline"),
                    std::pair(Fault::kSwallowsAnswers, "never ended"),
                    std::pair(Fault::kLeaksBytes, "bytes are still reserved")));

// Half of what comes cannot be served. What is served comes in time, and the instances do not
// spend it on those that are late.
TEST(SchedulerSim, ServesNineTenthsOfItsCapacityInTimeWhenTwiceAsMuchComes) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    Plan plan;
    plan.instances = 2;
    plan.loops = 2;
    plan.connections = 0;
    plan.queue_depth = 1024;
    plan.run_ns = kMillisecond;
    plan.row_ns = 100 * kMicrosecond;
    plan.deadline_min = 10 * kMillisecond;
    plan.stream_requests = 10'000;
    // A run of 8 rows takes 1.8 ms, and an eighth more on average.
    const double rows_per_ns = 2 * 8 / (1.8e6 * 1.125);
    plan.stream_gap = static_cast<Nanos>(1 / (2 * rows_per_ns));
    World world(seed, plan);
    const std::vector<std::string> complaints = world.Run();
    EXPECT_TRUE(complaints.empty()) << "seed " << seed << Lines(complaints);
    const double capacity = rows_per_ns * static_cast<double>(world.ended_ns() - world.began_ns());
    EXPECT_GE(static_cast<double>(world.good_rows()), 0.9 * capacity) << "seed " << seed;
    EXPECT_LE(static_cast<double>(world.good_rows()), 1.01 * capacity) << "the model is wrong";
  }
}

// What the properties speak of happens: otherwise they would hold of nothing.
TEST(SchedulerSim, PlaysWorldsInWhichEverythingHappens) {
  std::map<std::string_view, uint64_t> seen;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    World world(seed, DrawPlan(seed));
    world.Run();
    const ServableStats& stats = world.stats();
    for (size_t i = 0; i < kFailureReasonNames.size(); ++i) {
      seen[kFailureReasonNames[i]] += stats.failures[i].value();
    }
    for (size_t i = 0; i < kCloseReasonNames.size(); ++i) {
      seen[kCloseReasonNames[i]] += stats.closes[i].value();
    }
    seen["caller_runs"] += stats.caller_runs.value();
    seen["success"] += stats.success.value();
    for (size_t rows = 2; rows < 20; ++rows) seen["joined"] += stats.batch_rows[rows].value();
  }
  for (const std::string_view name : {"rejected", "cancelled", "deadline", "backend", "full",
                                      "preferred", "idle", "delay", "caller_runs", "joined"}) {
    EXPECT_GT(seen[name], 20u) << name;
  }
  EXPECT_GT(seen["success"], 5000u);
}

}  // namespace
}  // namespace fastserve
