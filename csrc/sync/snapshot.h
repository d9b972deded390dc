// Snapshot: a value that is read all the time and replaced now and then.
//
// What each request looks up (which models are served, with which limits) and the control plane
// replaces as a whole. A replaced value lives until its last reader lets go of it.
//
//   Snapshot<ServingMap> serving(std::make_shared<const ServingMap>());
//   serving.Store(std::make_shared<const ServingMap>(...));      // any thread
//   Snapshot<ServingMap>::Reader reader(serving);                // one for each reading thread
//   const auto& map = reader.Get();                              // one load while nothing changes
//
// Why a mutex and a cache: std::atomic<std::shared_ptr> is a spin lock in libstdc++, taken on every
// read, and every read would move the shared count between cores. Here a reader compares a version
// number, and only after a Store takes the mutex, for one copy of a shared_ptr.
//
// Threads: Store and Load from any thread; a Reader is confined to one thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/annotations.h"

namespace fastserve {

template <typename T>
class Snapshot {
 public:
  explicit Snapshot(std::shared_ptr<const T> first = nullptr) : value_(std::move(first)) {}
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  // Every Get or Load that begins after this has returned gives `value` or a later one.
  void Store(std::shared_ptr<const T> value) FS_EXCLUDES(mutex_) {
    {
      const MutexLock lock(mutex_);
      value_.swap(value);
      // Relaxed: the mutex carries the value; the number only tells readers to go and look.
      version_.store(version_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
    // The old value, now in `value`, may be the last reference: it dies outside the mutex.
  }

  std::shared_ptr<const T> Load() const FS_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return value_;
  }

  // A number that each Store changes. Read before a Load it belongs to that value or an older one.
  uint64_t version() const { return version_.load(std::memory_order_relaxed); }

  // Must not outlive its snapshot. Keeps the value of its last Get alive.
  class Reader {
   public:
    explicit Reader(const Snapshot& snapshot) : snapshot_(&snapshot) { Refresh(); }

    // The newest value; the reference is good until the next call. Copy it to hold it longer.
    const std::shared_ptr<const T>& Get() {
      if (snapshot_->version_.load(std::memory_order_relaxed) != version_) [[unlikely]] {
        Refresh();
      }
      return value_;
    }

    // Whether Get would bring something new. Lets an idle thread give up an old value in time.
    bool was_stale() const {
      return snapshot_->version_.load(std::memory_order_relaxed) != version_;
    }

   private:
    void Refresh() {
      std::shared_ptr<const T> old;  // Dies after the mutex is free.
      const MutexLock lock(snapshot_->mutex_);
      old = std::exchange(value_, snapshot_->value_);
      version_ = snapshot_->version_.load(std::memory_order_relaxed);
    }

    const Snapshot* snapshot_;
    uint64_t version_ = 0;
    std::shared_ptr<const T> value_;
  };

 private:
  mutable Mutex mutex_;
  std::shared_ptr<const T> value_ FS_GUARDED_BY(mutex_);
  // Written under mutex_, read without.
  std::atomic<uint64_t> version_{0};
};

}  // namespace fastserve
