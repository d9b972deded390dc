#include "channel/client/client_outbox.h"

#include <new>

namespace fastserve {

void ClientOutbox::Push(const Descriptor& said) {
  const MutexLock lock(mutex_);
  PushLocked(said);
  unrung_ = 0;  // Whoever pushes rings.
}

void ClientOutbox::Release(uint64_t offset) noexcept {
  if (ForkedSince(generation_)) return;
  try {
    const MutexLock lock(mutex_);
    PushLocked({.kind = DescriptorKind::kRelease,
                .code = 0,
                .request = 0,
                .offset = offset,
                .bytes = 0,
                .deadline_ns = 0,
                .spare = {}});
    if (++unrung_ < kManyReleases) return;
    unrung_ = 0;
  } catch (const std::bad_alloc&) {
    return;
  }
  Ring();
}

void ClientOutbox::PushLocked(const Descriptor& said) {
  if (is_closed_ || (backlog_.empty() && requests_.TryPush(said))) return;
  backlog_.push_back(said);
  if (backlog_.size() == 1) flush_due_.Signal();
}

bool ClientOutbox::Flush() {
  bool is_done = false;
  {
    const MutexLock lock(mutex_);
    if (backlog_.empty()) return true;
    while (!backlog_.empty() && requests_.TryPush(backlog_.front())) backlog_.pop_front();
    unrung_ = 0;
    is_done = backlog_.empty();
  }
  Ring();
  return is_done;
}

void ClientOutbox::Close() {
  const MutexLock lock(mutex_);
  is_closed_ = true;
  backlog_.clear();
}

}  // namespace fastserve
