// StreamedResponses: the responses of a request that may have many, on their way to the loop.
//
//   if (responses.Add(outputs)) queue->Push(exchange);    // the scheduler's thread
//   if (responses.End()) queue->Push(exchange);
//   bool has_ended = responses.Take(&ready);              // the loop, when it was drained
//
// An exchange is in the completion queue at most once, however many responses wait.
//
// Threads: Add and End on whatever thread holds the request, Take on the loop's.
#pragma once

#include <cstddef>
#include <deque>
#include <span>
#include <utility>
#include <vector>

#include "base/annotations.h"
#include "serving/inference_request.h"

namespace fastserve {

class StreamedResponses {
 public:
  using Response = std::vector<ResponseOutput>;

  // Takes the outputs. True: the loop is to be told. std::bad_alloc passes through.
  bool Add(std::span<ResponseOutput> outputs) {
    Response response;
    response.reserve(outputs.size());
    for (ResponseOutput& output : outputs) response.push_back(std::move(output));
    const MutexLock lock(mutex_);
    waiting_.push_back(std::move(response));
    return !std::exchange(is_queued_, true);
  }

  // No more come. True: the loop is to be told.
  bool End() {
    const MutexLock lock(mutex_);
    has_ended_ = true;
    return !std::exchange(is_queued_, true);
  }

  // Appends what has come; whether that was all. From here on the loop is told anew.
  bool Take(std::deque<Response>* ready) {
    const MutexLock lock(mutex_);
    is_queued_ = false;
    if (ready->empty()) {
      ready->swap(waiting_);
    } else {
      for (Response& response : waiting_) ready->push_back(std::move(response));
      waiting_.clear();
    }
    return has_ended_;
  }

  // Nobody else has it.
  void Clear() noexcept {
    const MutexLock lock(mutex_);
    waiting_.clear();
    is_queued_ = has_ended_ = false;
  }

 private:
  Mutex mutex_;
  std::deque<Response> waiting_ FS_GUARDED_BY(mutex_);
  bool is_queued_ FS_GUARDED_BY(mutex_) = false;
  bool has_ended_ FS_GUARDED_BY(mutex_) = false;
};

}  // namespace fastserve
