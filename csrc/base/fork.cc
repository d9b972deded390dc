#include "base/fork.h"

#include <pthread.h>

#include <atomic>

#include "base/check.h"

namespace fastserve {
namespace {

// Relaxed everywhere: it changes only where a process has one thread, and threads that are made
// later see what that one did.
std::atomic<uint32_t> generation{0};

void CountFork() {
  generation.store(generation.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

}  // namespace

uint32_t ForkGeneration() {
  // Once in the life of the process; fails only when there is no memory for the handler.
  static const int error = pthread_atfork(nullptr, nullptr, &CountFork);
  FS_CHECK_OP(error, ==, 0);
  return generation.load(std::memory_order_relaxed);
}

bool ForkedSince(uint32_t since) { return generation.load(std::memory_order_relaxed) != since; }

}  // namespace fastserve
