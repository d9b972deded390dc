#include "sync/inbox.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "sync/deterministic_schedule.h"

namespace fastserve {
namespace {

struct Letter {
  Letter* next = nullptr;
  int sender = 0;
  int count = 0;
};

using LetterBox = Inbox<Letter, &Letter::next>;

TEST(Inbox, GivesLettersInArrivalOrder) {
  LetterBox inbox;
  std::vector<Letter> letters(3);
  for (Letter& letter : letters) (void)inbox.Push(&letter);
  Letter* taken = inbox.TakeAll();
  for (Letter& letter : letters) {
    ASSERT_EQ(taken, &letter);
    taken = taken->next;
  }
  EXPECT_EQ(taken, nullptr);
}

TEST(Inbox, AsksForASignalOnlyWhenItWasEmpty) {
  LetterBox inbox;
  Letter first, second, third;
  EXPECT_TRUE(inbox.was_empty());
  EXPECT_TRUE(inbox.Push(&first));
  EXPECT_FALSE(inbox.Push(&second));
  EXPECT_FALSE(inbox.was_empty());
  (void)inbox.TakeAll();
  EXPECT_TRUE(inbox.was_empty());
  EXPECT_TRUE(inbox.Push(&third));
}

TEST(Inbox, IsEmptyAfterItWasTaken) {
  LetterBox inbox;
  EXPECT_EQ(inbox.TakeAll(), nullptr);
  Letter letter;
  (void)inbox.Push(&letter);
  EXPECT_EQ(inbox.TakeAll(), &letter);
  EXPECT_EQ(inbox.TakeAll(), nullptr);
}

TEST(Inbox, LosesNothingBetweenRealThreads) {
  constexpr int kSenders = 3;
  constexpr int kEach = 20'000;
  std::vector<std::vector<Letter>> letters(kSenders, std::vector<Letter>(kEach));
  LetterBox inbox;
  std::vector<std::thread> senders;
  for (int s = 0; s < kSenders; ++s) {
    senders.emplace_back([&, s] {
      for (int i = 0; i < kEach; ++i) {
        letters[s][i].sender = s;
        letters[s][i].count = i;
        (void)inbox.Push(&letters[s][i]);
      }
    });
  }
  std::vector<int> next(kSenders, 0);
  for (int total = 0; total < kSenders * kEach;) {
    Letter* letter = inbox.TakeAll();
    if (letter == nullptr) std::this_thread::yield();
    for (; letter != nullptr; letter = letter->next, ++total) {
      ASSERT_EQ(letter->count, next[letter->sender]++);
    }
  }
  for (std::thread& sender : senders) sender.join();
}

// A loop that sleeps on a flag (the eventfd's stand-in), drains it, then takes. Nobody but the
// push that found the inbox empty raises the flag; the loop must still see every letter.
TEST(Inbox, NeedsOneSignalForEachTimeItWasEmptyInAnyInterleaving) {
  for (uint64_t seed = 1; seed <= 300 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Inbox<Letter, &Letter::next, DeterministicAtom> inbox;
    DeterministicAtom<uint32_t> flag;
    std::vector<Letter> letters(4);
    int taken = 0;
    const auto send = [&](int first) {
      for (int i = first; i < first + 2; ++i) {
        if (!inbox.Push(&letters[i])) continue;
        flag.store(1, std::memory_order_release);
        DeterministicFutex::WakeAll(flag);
      }
    };
    DeterministicSchedule schedule(seed);
    schedule.Run({[&] { send(0); }, [&] { send(2); },
                  [&] {
                    while (taken < 4) {
                      DeterministicFutex::Wait(flag, 0, kNever);
                      flag.store(0, std::memory_order_relaxed);
                      for (Letter* l = inbox.TakeAll(); l != nullptr; l = l->next) ++taken;
                    }
                  }});
    EXPECT_EQ(taken, 4);
    EXPECT_EQ(schedule.lost_wakeups(), 0);
  }
}

}  // namespace
}  // namespace fastserve
