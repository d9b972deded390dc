#include "channel/client/client_outbox.h"

namespace fastserve {

void ClientOutbox::Push(const Descriptor& said) {
  if (backlog_.empty() && requests_.TryPush(said)) return;
  backlog_.push_back(said);
  AskForFlush();
}

void ClientOutbox::PushWaiting() {
  while (!backlog_.empty() && requests_.TryPush(backlog_.front())) {
    backlog_.pop_front();
    ++unrung_;
  }
  if (returning_.empty() && segment_->has_returned()) segment_->TakeReturned(&returning_);
  while (!returning_.empty() && backlog_.empty()) {
    const Descriptor release{.kind = DescriptorKind::kRelease,
                             .code = 0,
                             .request = 0,
                             .offset = returning_.back(),
                             .bytes = 0,
                             .deadline_ns = 0,
                             .spare = {}};
    if (!requests_.TryPush(release)) break;
    returning_.pop_back();
    ++unrung_;
  }
  if (!backlog_.empty() || !returning_.empty()) AskForFlush();
}

void ClientOutbox::PushReleases() {
  if (backlog_.empty() && returning_.empty() && !segment_->has_returned()) return;
  PushWaiting();
  if (unrung_ < ClientSegment::kManyReturned) return;
  unrung_ = 0;
  Ring();
}

bool ClientOutbox::Flush() {
  PushWaiting();
  if (std::exchange(unrung_, 0) > 0) Ring();
  is_flush_due_ = !backlog_.empty() || !returning_.empty();
  return !is_flush_due_;
}

void ClientOutbox::Clear() {
  backlog_.clear();
  returning_.clear();
}

void ClientOutbox::AskForFlush() {
  if (!std::exchange(is_flush_due_, true)) segment_->many_returned().Signal();
}

}  // namespace fastserve
