#include "memory/slab_pool.h"

#include <array>
#include <bit>
#include <new>

#include "base/annotations.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FS_ADDRESS_SANITIZER
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define FS_ADDRESS_SANITIZER
#endif
#ifdef FS_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

namespace fastserve {
namespace {

constexpr size_t kSmallestShift = 12;  // 4 KiB: below, a slab is mostly its first page anyway.
constexpr size_t kQuartersShift = 20;  // 1 MiB: above, four classes for each power of two.
constexpr size_t kLargestShift = 40;
constexpr size_t kPowerClasses = kQuartersShift - kSmallestShift + 1;
constexpr size_t kClasses = kPowerClasses + 4 * (kLargestShift - kQuartersShift);
static_assert(SlabPool::kCapacityMax == size_t{1} << kLargestShift);

// The smallest class that holds `bytes`, which is at most kCapacityMax.
size_t ClassOf(size_t bytes) {
  if (bytes <= size_t{1} << kSmallestShift) return 0;
  const size_t last = bytes - 1;
  if (bytes <= size_t{1} << kQuartersShift) return std::bit_width(last >> kSmallestShift);
  const size_t shift = std::bit_width(last) - 1;
  const size_t quarter = (last >> (shift - 2)) & 3;
  return kPowerClasses + 4 * (shift - kQuartersShift) + quarter;
}

size_t CapacityOfClass(size_t index) {
  if (index < kPowerClasses) return size_t{1} << (kSmallestShift + index);
  const size_t shift = kQuartersShift + (index - kPowerClasses) / 4;
  const size_t quarters = 5 + (index - kPowerClasses) % 4;
  return quarters << (shift - 2);
}

// A slab that nobody uses: the link stands where its Buffer was.
struct FreeSlab {
  FreeSlab* next;
};

// Catches users of bytes that were released: in a cached slab they are still mapped.
void Poison([[maybe_unused]] FreeSlab* slab, [[maybe_unused]] size_t capacity) {
#ifdef FS_ADDRESS_SANITIZER
  __asan_poison_memory_region(reinterpret_cast<std::byte*>(slab) + SlabPool::kAlignment,
                              capacity + SlabPool::kSpareBytes);
#endif
}

void Unpoison([[maybe_unused]] FreeSlab* slab, [[maybe_unused]] size_t capacity) {
#ifdef FS_ADDRESS_SANITIZER
  __asan_unpoison_memory_region(reinterpret_cast<std::byte*>(slab) + SlabPool::kAlignment,
                                capacity + SlabPool::kSpareBytes);
#endif
}

}  // namespace

// Lives until its owner and all slabs in use are gone.
class SlabPool::State {
 public:
  explicit State(const Options& options) : options_(options) {}

  BufferRef Acquire(size_t bytes) FS_EXCLUDES(mutex_);
  size_t Trim() FS_EXCLUDES(mutex_);
  Stats stats() const FS_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return stats_;
  }
  // The owner is done; deletes the state if no slab is in use.
  void Close() FS_EXCLUDES(mutex_);

 private:
  struct Slab : Buffer {
    Slab(std::byte* data, size_t capacity, State* state, size_t slab_class)
        : Buffer(data, capacity, &State::Release), state(state), slab_class(slab_class) {}
    State* const state;
    const size_t slab_class;
  };
  static_assert(sizeof(Slab) <= kAlignment && alignof(Slab) <= kAlignment);

  static void Release(Buffer* buffer) {
    Slab* slab = static_cast<Slab*>(buffer);
    State* state = slab->state;
    const size_t slab_class = slab->slab_class;
    slab->~Slab();
    state->GiveBack(::new (static_cast<void*>(slab)) FreeSlab{nullptr}, slab_class);
  }

  void GiveBack(FreeSlab* slab, size_t slab_class) FS_EXCLUDES(mutex_);
  void* AllocateSlab(size_t capacity) FS_EXCLUDES(mutex_);

  FreeSlab* PopCached(size_t slab_class) FS_REQUIRES(mutex_);
  void PushCached(FreeSlab* slab, size_t slab_class) FS_REQUIRES(mutex_);
  // Unlinks cached slabs of other classes until `capacity` more fits; returns them as a list.
  FreeSlab* MakeRoomFor(size_t slab_class) FS_REQUIRES(mutex_);
  FreeSlab* UnlinkAll() FS_REQUIRES(mutex_);
  static void FreeList(FreeSlab* slab) {
    while (slab != nullptr) {
      FreeSlab* next = slab->next;
      std::free(slab);
      slab = next;
    }
  }

  const Options options_;
  mutable Mutex mutex_;
  Stats stats_ FS_GUARDED_BY(mutex_);
  std::array<FreeSlab*, kClasses> cached_ FS_GUARDED_BY(mutex_){};
  // The class that MakeRoomFor looks at next: all classes lose in turn.
  size_t next_victim_ FS_GUARDED_BY(mutex_) = 0;
  uint64_t slabs_in_use_ FS_GUARDED_BY(mutex_) = 0;
  bool closed_ FS_GUARDED_BY(mutex_) = false;
};

BufferRef SlabPool::State::Acquire(size_t bytes) {
  const size_t slab_class = bytes <= kCapacityMax ? ClassOf(bytes) : kClasses;
  const size_t capacity = bytes <= kCapacityMax ? CapacityOfClass(slab_class) : kCapacityMax;
  void* memory = nullptr;
  {
    const MutexLock lock(mutex_);
    if (slab_class == kClasses || capacity > options_.bytes_max - stats_.in_use_bytes) {
      ++stats_.refused;
      return {};
    }
    // Counted before it is there, so that two threads cannot pass the limit together.
    stats_.in_use_bytes += capacity;
    ++slabs_in_use_;
    ++stats_.acquired;
    if (FreeSlab* slab = PopCached(slab_class)) {
      ++stats_.reused;
      memory = slab;
    } else {
      ++stats_.slabs;
    }
  }
  if (memory == nullptr) memory = AllocateSlab(capacity);
  if (memory == nullptr) {
    const MutexLock lock(mutex_);
    stats_.in_use_bytes -= capacity;
    --slabs_in_use_;
    --stats_.acquired;
    --stats_.slabs;
    ++stats_.refused;
    return {};
  }
  std::byte* data = static_cast<std::byte*>(memory) + kAlignment;
  return BufferRef::Adopt(::new (memory) Slab(data, capacity, this, slab_class));
}

void* SlabPool::State::AllocateSlab(size_t capacity) {
  void* memory = options_.allocate(kAlignment, capacity + kOverheadBytes);
  // Memory kept for later is no reason to refuse now.
  if (memory == nullptr && Trim() > 0) {
    memory = options_.allocate(kAlignment, capacity + kOverheadBytes);
  }
  return memory;
}

void SlabPool::State::GiveBack(FreeSlab* slab, size_t slab_class) {
  const size_t capacity = CapacityOfClass(slab_class);
  bool last = false;
  FreeSlab* unwanted = nullptr;
  {
    const MutexLock lock(mutex_);
    stats_.in_use_bytes -= capacity;
    --slabs_in_use_;
    if (!closed_) unwanted = MakeRoomFor(slab_class);
    if (!closed_ && stats_.cached_bytes + capacity <= options_.cached_bytes_max) {
      PushCached(slab, slab_class);
    } else {
      slab->next = unwanted;
      unwanted = slab;
      --stats_.slabs;
    }
    last = closed_ && slabs_in_use_ == 0;
  }
  FreeList(unwanted);
  if (last) delete this;
}

FreeSlab* SlabPool::State::PopCached(size_t slab_class) {
  FreeSlab* slab = cached_[slab_class];
  if (slab == nullptr) return nullptr;
  const size_t capacity = CapacityOfClass(slab_class);
  cached_[slab_class] = slab->next;
  stats_.cached_bytes -= capacity;
  Unpoison(slab, capacity);
  return slab;
}

void SlabPool::State::PushCached(FreeSlab* slab, size_t slab_class) {
  const size_t capacity = CapacityOfClass(slab_class);
  slab->next = cached_[slab_class];
  cached_[slab_class] = slab;
  stats_.cached_bytes += capacity;
  Poison(slab, capacity);
}

FreeSlab* SlabPool::State::MakeRoomFor(size_t slab_class) {
  const size_t capacity = CapacityOfClass(slab_class);
  FreeSlab* unlinked = nullptr;
  if (capacity > options_.cached_bytes_max) return nullptr;
  // One turn over the classes at most. Slabs of the same class stay: evicting one to keep another
  // would gain nothing.
  for (size_t turn = 0; turn < kClasses;) {
    if (stats_.cached_bytes + capacity <= options_.cached_bytes_max) break;
    FreeSlab* victim = next_victim_ == slab_class ? nullptr : PopCached(next_victim_);
    if (victim == nullptr) {
      next_victim_ = (next_victim_ + 1) % kClasses;
      ++turn;
      continue;
    }
    victim->next = unlinked;
    unlinked = victim;
    --stats_.slabs;
  }
  return unlinked;
}

FreeSlab* SlabPool::State::UnlinkAll() {
  FreeSlab* unlinked = nullptr;
  for (size_t slab_class = 0; slab_class < kClasses; ++slab_class) {
    while (FreeSlab* slab = PopCached(slab_class)) {
      slab->next = unlinked;
      unlinked = slab;
      --stats_.slabs;
    }
  }
  return unlinked;
}

size_t SlabPool::State::Trim() {
  size_t trimmed_bytes = 0;
  FreeSlab* unlinked = nullptr;
  {
    const MutexLock lock(mutex_);
    trimmed_bytes = stats_.cached_bytes;
    unlinked = UnlinkAll();
  }
  FreeList(unlinked);
  return trimmed_bytes;
}

void SlabPool::State::Close() {
  bool last = false;
  FreeSlab* unlinked = nullptr;
  {
    const MutexLock lock(mutex_);
    unlinked = UnlinkAll();
    closed_ = true;
    last = slabs_in_use_ == 0;
  }
  FreeList(unlinked);
  if (last) delete this;
}

std::unique_ptr<SlabPool> SlabPool::Create(const Options& options) {
  return std::unique_ptr<SlabPool>(new SlabPool(new State(options)));
}

SlabPool::~SlabPool() { state_->Close(); }

BufferRef SlabPool::Acquire(size_t bytes) { return state_->Acquire(bytes); }

size_t SlabPool::Trim() { return state_->Trim(); }

SlabPool::Stats SlabPool::stats() const { return state_->stats(); }

size_t SlabPool::CapacityFor(size_t bytes) {
  return bytes <= kCapacityMax ? CapacityOfClass(ClassOf(bytes)) : 0;
}

}  // namespace fastserve
