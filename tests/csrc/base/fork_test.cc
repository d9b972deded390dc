#include "base/fork.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fastserve {
namespace {

// What `act` returns in a child of this process.
template <typename Act>
int ExitCodeOfChild(Act act) {
  const pid_t child = fork();
  if (child == 0) _exit(act());
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Fork, IsSeenByTheChildAlone) {
  const uint32_t before = ForkGeneration();
  EXPECT_EQ(ExitCodeOfChild([&] { return ForkedSince(before) ? 7 : 1; }), 7);
  EXPECT_FALSE(ForkedSince(before));
  EXPECT_EQ(ForkGeneration(), before);
}

TEST(Fork, IsCountedInEachGenerationAnew) {
  const uint32_t first = ForkGeneration();
  const int code = ExitCodeOfChild([&] {
    const uint32_t second = ForkGeneration();
    if (ForkedSince(second)) return 1;
    return ExitCodeOfChild([&] { return ForkedSince(first) && ForkedSince(second) ? 7 : 1; });
  });
  EXPECT_EQ(code, 7);
}

}  // namespace
}  // namespace fastserve
