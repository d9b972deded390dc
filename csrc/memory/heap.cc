#include "memory/heap.h"

#include <cstdlib>  // Defines __GLIBC__ where it is one.

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace fastserve {

HeapStats ReadHeap() {
  HeapStats stats;
#ifdef __GLIBC__
  const struct mallinfo2 info = mallinfo2();
  stats.system_bytes = info.arena + info.hblkhd;
  stats.in_use_bytes = info.uordblks + info.hblkhd;
#endif
  return stats;
}

void LimitHeaps(int count) {
#ifdef __GLIBC__
  mallopt(M_ARENA_MAX, count);
#else
  static_cast<void>(count);
#endif
}

void TrimHeap() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

}  // namespace fastserve
