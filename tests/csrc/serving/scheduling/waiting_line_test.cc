#include "serving/scheduling/waiting_line.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "serving/keeping_sink.h"

namespace fastserve {
namespace {

int IdOf(const InferenceRequest& request) { return static_cast<const TestRequest&>(request).id; }

struct Rig {
  explicit Rig(size_t depth, size_t requests = 64) : sink(requests), line(depth) {}

  void Push(int id, Nanos deadline_ns = kNever, bool cancelled = false) {
    RequestPtr request = sink.FloatRequest(id, 1, 0);
    request->deadline_ns = deadline_ns;
    request->cancelled.store(cancelled, std::memory_order_relaxed);
    line.Push(std::move(request));
  }
  std::vector<int> Front(Nanos now, size_t live_max) {
    std::vector<int> ids;
    for (const RequestPtr& request : line.Front(now, live_max, &dead)) {
      ids.push_back(IdOf(*request));
    }
    return ids;
  }
  std::vector<int> TakeOut(const std::vector<uint32_t>& positions) {
    std::vector<int> ids;
    line.TakeOut(positions, [&](RequestPtr request) { ids.push_back(IdOf(*request)); });
    return ids;
  }
  std::vector<int> Dead() {
    std::vector<int> ids;
    while (const RequestPtr request = dead.Pop()) ids.push_back(IdOf(*request));
    return ids;
  }
  void Sweep(Nanos now) {
    line.BeginSweep();
    while (!line.SweepSome(now, &dead)) continue;
  }

  KeepingSink sink;
  RequestList dead;
  WaitingLine line;
};

using Ids = std::vector<int>;

TEST(WaitingLine, ShowsTheFirstAndLetsThosePassedOverCloseRanks) {
  Rig rig(8);
  for (int id = 0; id < 6; ++id) rig.Push(id);
  EXPECT_EQ(rig.Front(0, 4), (Ids{0, 1, 2, 3}));
  EXPECT_EQ(rig.TakeOut({0, 2}), (Ids{0, 2}));
  EXPECT_EQ(rig.Front(0, 3), (Ids{1, 3, 4}));
  EXPECT_EQ(rig.TakeOut({1}), (Ids{3}));
  EXPECT_EQ(rig.Front(0, 8), (Ids{1, 4, 5}));
  EXPECT_EQ(rig.line.size(), 3u);
}

TEST(WaitingLine, PicksTheDeadOutOfTheFrontAlone) {
  Rig rig(16);
  for (int id = 0; id < 10; ++id) rig.Push(id, id % 3 == 0 ? 100 : kNever, id % 3 == 1);
  EXPECT_EQ(rig.line.deadlines(), 4u);
  EXPECT_EQ(rig.Front(99, 3), (Ids{0, 2, 3}));
  EXPECT_EQ(rig.Dead(), (Ids{1}));
  EXPECT_EQ(rig.Front(100, 2), (Ids{2, 5}));
  EXPECT_EQ(rig.Dead(), (Ids{0, 3, 4}));
  EXPECT_EQ(rig.line.size(), 6u);
  EXPECT_EQ(rig.line.deadlines(), 2u);
}

TEST(WaitingLine, SweepsAllOfItAndClosesTheGapsLater) {
  Rig rig(16);
  for (int id = 0; id < 10; ++id) rig.Push(id, id % 2 == 0 ? 100 + id : kNever, id == 7);
  EXPECT_EQ(rig.line.next_deadline(), 100);
  rig.Sweep(104);
  EXPECT_EQ(rig.Dead(), (Ids{7, 4, 2, 0}));
  EXPECT_EQ(rig.line.next_deadline(), 106);
  EXPECT_EQ(rig.line.deadlines(), 2u);
  EXPECT_EQ(rig.Front(0, 3), (Ids{1, 3, 5}));
  EXPECT_EQ(rig.TakeOut({2}), (Ids{5}));
  EXPECT_EQ(rig.Front(0, 16), (Ids{1, 3, 6, 8, 9}));
}

TEST(WaitingLine, ForgetsTheDeadlinesOfThoseWhoLeft) {
  Rig rig(4);
  rig.Push(0, 100);
  rig.Push(1, 50);
  rig.Sweep(50);
  EXPECT_EQ(rig.Dead(), (Ids{1}));
  EXPECT_EQ(rig.line.next_deadline(), 100);
  EXPECT_EQ(rig.Front(0, 4), (Ids{0}));
  rig.TakeOut({0});
  rig.Sweep(60);
  EXPECT_EQ(rig.line.next_deadline(), kNever);
  EXPECT_TRUE(rig.line.empty());
}

// Between two steps of a sweep the line is used: what was in front is moved behind the sweep.
TEST(WaitingLine, MissesNobodyWhenTheLineIsUsedBetweenTheStepsOfASweep) {
  constexpr int kRequests = static_cast<int>(WaitingLine::kSweepStep) + 10;
  Rig rig(kRequests, kRequests);
  for (int id = 0; id < kRequests; ++id) rig.Push(id, id == 0 ? 500 : kNever);
  rig.line.BeginSweep();
  EXPECT_FALSE(rig.line.SweepSome(0, &rig.dead));
  // Request 0 goes where the sweep has been, and its deadline is still known when it is over.
  EXPECT_EQ(rig.Front(0, kRequests).size(), static_cast<size_t>(kRequests));
  EXPECT_EQ(rig.TakeOut({kRequests - 1}), (Ids{kRequests - 1}));
  while (!rig.line.SweepSome(0, &rig.dead)) continue;
  EXPECT_EQ(rig.line.next_deadline(), 500);
}

// A line that is a plain list, and says of each step what must come of it.
struct PlainLine {
  struct Waiting {
    int id;
    Nanos deadline_ns;
    bool cancelled;
  };

  bool IsDead(const Waiting& w) const { return w.cancelled || w.deadline_ns <= now; }
  void Sweep() {
    for (const Waiting& w : line) {
      if (IsDead(w)) dead.insert(w.id);
    }
    std::erase_if(line, [this](const Waiting& w) { return IsDead(w); });
  }
  Nanos Earliest() const {
    Nanos earliest = kNever;
    for (const Waiting& w : line) earliest = std::min(earliest, w.deadline_ns);
    return earliest;
  }
  Ids Front(size_t live_max) {
    Ids front;
    for (size_t i = 0; i < line.size() && front.size() < live_max;) {
      if (IsDead(line[i])) {
        dead.insert(line[i].id);
        line.erase(line.begin() + static_cast<std::ptrdiff_t>(i));
      } else {
        front.push_back(line[i++].id);
      }
    }
    return front;
  }
  void TakeOut(const Ids& taken) {
    std::erase_if(line, [&](const Waiting& w) {
      return std::find(taken.begin(), taken.end(), w.id) != taken.end();
    });
  }
  std::set<int> Dead() { return std::exchange(dead, {}); }

  Nanos now = 0;
  std::vector<Waiting> line;
  std::set<int> dead;
};

void CheckDead(Rig& rig, PlainLine& plain) {
  const Ids found = rig.Dead();
  EXPECT_EQ(std::set<int>(found.begin(), found.end()), plain.Dead());
}

// Pushes, sweeps, looks and takes at random.
TEST(WaitingLine, DoesWhatAPlainListDoes) {
  constexpr size_t kDepth = 12;
  for (uint32_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    Rig rig(kDepth, 4096);
    PlainLine plain;
    int next = 0;
    for (int step = 0; step < 300; ++step) {
      plain.now += random() % 3;
      for (uint32_t n = random() % 4; n > 0 && plain.line.size() < kDepth; --n) {
        const Nanos deadline_ns = random() % 2 == 0 ? kNever : plain.now + random() % 20;
        plain.line.push_back({next, deadline_ns, random() % 8 == 0});
        rig.Push(next++, deadline_ns, plain.line.back().cancelled);
      }
      if (random() % 4 == 0) {
        plain.Sweep();
        rig.Sweep(plain.now);
        CheckDead(rig, plain);
        ASSERT_EQ(rig.line.next_deadline(), plain.Earliest());
      }
      const size_t live_max = 1 + random() % 6;
      const Ids front = plain.Front(live_max);
      ASSERT_EQ(rig.Front(plain.now, live_max), front);
      CheckDead(rig, plain);
      std::vector<uint32_t> positions;
      Ids taken;
      for (uint32_t i = 0; i < front.size(); ++i) {
        if (random() % 2 == 0) continue;
        positions.push_back(i);
        taken.push_back(front[i]);
      }
      ASSERT_EQ(rig.TakeOut(positions), taken);
      plain.TakeOut(taken);
      ASSERT_EQ(rig.line.size(), plain.line.size());
    }
  }
}

}  // namespace
}  // namespace fastserve
