// ForkGeneration: has this process been forked since?
//
// fork() copies the memory of a process and, of its threads, only the one that called. An object
// that owns threads, or whose mutex another thread may have held, is a hull in the child: it must
// not join, lock or hand out work there. Such an object notes the generation when it is made and
// asks before it relies on its threads.
//
//   const uint32_t generation_ = ForkGeneration();
//   if (ForkedSince(generation_)) return FailedPrecondition(...);
//
// Counts fork() alone, in the child (a handler of pthread_atfork). A child that runs another
// program at once, as posix_spawn's, has nothing left to ask.
//
// Threads: any. ForkedSince costs one load.
#pragma once

#include <cstdint>

namespace fastserve {

// How many forks lie between this process and the first one that asked.
uint32_t ForkGeneration();

// Whether this process is a child of the one in which ForkGeneration gave `generation`.
bool ForkedSince(uint32_t generation);

}  // namespace fastserve
