#include "memory/heap.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <latch>
#include <thread>
#include <vector>

namespace fastserve {
namespace {

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_A_HEAP_OF_ITS_OWN
#endif
#endif

// Blocks too small to be mappings of their own.
std::vector<void*> Blocks(size_t count, size_t bytes) {
  std::vector<void*> blocks(count);
  for (void*& block : blocks) {
    block = std::malloc(bytes);
    std::memset(block, 1, bytes);
  }
  return blocks;
}

TEST(Heap, TellsWhatIsInUseFromWhatItKeeps) {
  [[maybe_unused]] const HeapStats before = ReadHeap();
  std::vector<void*> blocks = Blocks(1000, 32 << 10);
  void* const last = std::malloc(32 << 10);  // Holds the end of the heap where it is.
  const HeapStats full = ReadHeap();
  for (void* block : blocks) std::free(block);
  const HeapStats after = ReadHeap();
#ifdef HAS_A_HEAP_OF_ITS_OWN
  EXPECT_EQ(full.in_use_bytes, after.in_use_bytes);
#else
  EXPECT_GE(full.in_use_bytes, before.in_use_bytes + (1000u * 32 << 10));
  EXPECT_LT(after.in_use_bytes, before.in_use_bytes + (1u << 20));
  EXPECT_GE(full.system_bytes, full.in_use_bytes);
#endif
  TrimHeap();
  EXPECT_LE(ReadHeap().in_use_bytes, after.in_use_bytes);
  std::free(last);
}

#ifndef HAS_A_HEAP_OF_ITS_OWN
size_t HeapsOfTheProcess() {
  char* text = nullptr;
  size_t size = 0;
  FILE* const out = open_memstream(&text, &size);
  malloc_info(0, out);
  fclose(out);
  size_t heaps = 0;
  for (const char* at = text; (at = std::strstr(at, "<heap nr=")) != nullptr; ++at) ++heaps;
  std::free(text);
  return heaps;
}

TEST(Heap, ThreadsShareHeapsOnceThereAreSoMany) {
  LimitHeaps(2);
  // Tests before this one may have made more, which stay.
  const size_t most = std::max<size_t>(2, HeapsOfTheProcess());
  std::vector<std::thread> threads;
  std::latch all_allocate(8);
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      std::vector<void*> blocks = Blocks(10, 1024);
      all_allocate.arrive_and_wait();
      for (void* block : blocks) std::free(block);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(HeapsOfTheProcess(), most);
}
#endif

}  // namespace
}  // namespace fastserve
