#include "serving/scheduling/waiting_line.h"

#include "base/check.h"

namespace fastserve {

void WaitingLine::Push(RequestPtr request) {
  if (line_.size() == line_.capacity()) {
    std::erase(line_, nullptr);
    start_ = 0;
    FS_CHECK_OP(line_.size(), <, line_.capacity());
  }
  ++size_;
  if (request->deadline_ns != kNever) {
    ++deadlines_;
    next_deadline_ = std::min(next_deadline_, request->deadline_ns);
  }
  line_.push_back(std::move(request));
}

std::span<const RequestPtr> WaitingLine::Front(Nanos now, size_t live_max, RequestList* dead) {
  size_t live = 0;
  size_t end = start_;
  for (; end < line_.size() && live < live_max; ++end) {
    RequestPtr& place = line_[end];
    if (place == nullptr) continue;
    if (IsDead(*place, now)) {
      dead->Push(Leave(place));
    } else {
      ++live;
      // A sweep that is under way may not come by it any more.
      next_deadline_ = std::min(next_deadline_, place->deadline_ns);
    }
  }
  if (end - start_ != live) CloseGaps(end);
  return std::span(line_).subspan(start_, live);
}

void WaitingLine::BeginSweep() {
  sweep_end_ = line_.size();
  swept_deadline_ = kNever;
  next_deadline_ = kNever;  // Of those who come from now on, until the sweep is over.
}

bool WaitingLine::SweepSome(Nanos now, RequestList* dead) {
  sweep_end_ = std::min(sweep_end_, line_.size());
  const size_t end = sweep_end_;
  while (sweep_end_ > start_ && end - sweep_end_ < kSweepStep) {
    RequestPtr& place = line_[--sweep_end_];
    if (place == nullptr) continue;
    if (IsDead(*place, now)) {
      dead->Push(Leave(place));
    } else {
      swept_deadline_ = std::min(swept_deadline_, place->deadline_ns);
    }
  }
  if (sweep_end_ > start_) return false;
  next_deadline_ = std::min(next_deadline_, swept_deadline_);
  if (size_ == 0) CloseGaps(line_.size());
  return true;
}

// Takes the request from its place.
RequestPtr WaitingLine::Leave(RequestPtr& place) {
  --size_;
  deadlines_ -= place->deadline_ns != kNever;
  return std::move(place);
}

// Those in front of `end` close ranks towards it; nobody overtakes.
void WaitingLine::CloseGaps(size_t end) {
  if (size_ == 0) {
    line_.clear();
    start_ = 0;
    return;
  }
  size_t to = end;
  for (size_t from = end; from-- > start_;) {
    if (line_[from] == nullptr) continue;
    if (--to != from) line_[to] = std::move(line_[from]);
  }
  start_ = to;
}

}  // namespace fastserve
