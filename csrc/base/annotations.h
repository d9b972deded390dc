// Clang's thread-safety annotations, and the annotated Mutex that they need.
//
// Every mutex member says what it guards; clang checks it (`make lint`), other compilers see
// nothing.
#pragma once

#include <mutex>

#if defined(__clang__)
#define FS_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define FS_THREAD_ATTRIBUTE(x)
#endif

#define FS_CAPABILITY(name) FS_THREAD_ATTRIBUTE(capability(name))
#define FS_SCOPED_CAPABILITY FS_THREAD_ATTRIBUTE(scoped_lockable)
#define FS_GUARDED_BY(x) FS_THREAD_ATTRIBUTE(guarded_by(x))
#define FS_REQUIRES(...) FS_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define FS_ACQUIRE(...) FS_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define FS_RELEASE(...) FS_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))
#define FS_EXCLUDES(...) FS_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))

namespace fastserve {

class FS_CAPABILITY("mutex") Mutex {
 public:
  void Lock() FS_ACQUIRE() { mutex_.lock(); }
  void Unlock() FS_RELEASE() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class FS_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) FS_ACQUIRE(mutex) : mutex_(mutex) { mutex_.Lock(); }
  ~MutexLock() FS_RELEASE() { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace fastserve
