// The C library's heap: what everything lives in that is no slab.
//
// Its resident size tells little of what is in use: free blocks stay with it, and after a busy
// minute there are many. These figures tell a leak from that.
//
// Threads: any. Without glibc the figures are 0 and the others do nothing.
#pragma once

#include <cstddef>

namespace fastserve {

struct HeapStats {
  size_t system_bytes = 0;  // Taken from the system,
  size_t in_use_bytes = 0;  // and how much of it somebody holds.
};

HeapStats ReadHeap();

// From now on threads that allocate for the first time share heaps with others once there are
// `count` of them. By default each has one of its own, up to eight for each core, and what is free
// in one is of no use to the others: a process whose threads come and go grows for hours.
void LimitHeaps(int count);

// Gives the pages of free blocks back to the system. Blocks for about a millisecond, and whoever
// allocates meanwhile with it: for a moment when there is nothing to do.
void TrimHeap();

}  // namespace fastserve
