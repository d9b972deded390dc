// ServingMap: which versions are served now.
//
// The control plane publishes and retires; each request looks up once, when its head is there, and
// keeps what it found.
//
//   ServingMap map;
//   map.Publish(servable);                                  // any thread
//   ServingMap::Reader reader(map);                         // one per event loop
//   ServableHandle servable = reader.Find("digits", "");    // null when there is none
//
// What is served is replaced whole. Each Reader has its own pointer to it, so that event loops do
// not fight for one counter; whoever changes the map brings all of them up to date, so that a loop
// that sleeps keeps nothing alive that is retired.
//
// Threads: Publish, Retire and Find from any thread; a Reader is one thread's.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/annotations.h"
#include "base/fork.h"
#include "base/status.h"
#include "serving/servable.h"

namespace fastserve {

class ServingMap {
 public:
  ServingMap();
  ServingMap(const ServingMap&) = delete;
  ServingMap& operator=(const ServingMap&) = delete;

  static constexpr size_t kLabelBytesMax = 64;

  // Serves it from now on. A version of that name and number that is there already is replaced, and
  // returned.
  ServableHandle Publish(ServableHandle servable) FS_EXCLUDES(writing_, mutex_);

  // Which versions of a model are found by what names, from now on and all at once: each label, and
  // the version that serves requests which name none (the highest one, without or until it is
  // served). Holds also for versions that are published later; none and nullopt forget it.
  //
  // Errors: INVALID_ARGUMENT for a label that is empty, longer than kLabelBytesMax, or a number.
  Status Route(const std::string& name, std::map<std::string, int64_t> labels,
               std::optional<int64_t> default_version) FS_EXCLUDES(writing_, mutex_);

  // Stops finding it; what is in flight finishes. Returns what was retired. Errors: NOT_FOUND.
  Result<ServableHandle> Retire(const std::string& name, int64_t version)
      FS_EXCLUDES(writing_, mutex_);

  // As Reader::Find, for a thread that looks up now and then: takes a mutex for the time of a copy.
  ServableHandle Find(std::string_view name, std::string_view version) const;

  // Gives back what the served versions keep for their next batches; returns how many bytes.
  size_t TrimMemory() const;

  // A number that each change of the map changes. Whoever read it before a Find need not look again
  // until it is another; to be remembered with a weak reference, so that nothing is kept alive.
  uint64_t changes() const { return changes_.load(std::memory_order_relaxed); }

 private:
  struct TransparentHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  struct Model {
    std::map<int64_t, ServableHandle> versions;
    std::map<std::string, int64_t, std::less<>> labels;
    std::optional<int64_t> default_version;
    ServableHandle by_default;  // Of `versions`; null if there is none.

    ServableHandle Find(int64_t version) const;
    // Call when one of the others was changed.
    void FindDefault();
    bool is_empty() const { return versions.empty() && labels.empty() && !default_version; }
  };
  using Models = std::unordered_map<std::string, Model, TransparentHash, std::equal_to<>>;

  static ServableHandle FindIn(const Models& models, std::string_view name,
                               std::string_view version);

 public:
  // Must not outlive its map.
  class Reader {
   public:
    explicit Reader(const ServingMap& map);
    ~Reader();
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    // `version` is decimal digits or a label; "" and "-1" are the default version. Null when it is
    // not served.
    ServableHandle Find(std::string_view name, std::string_view version) FS_EXCLUDES(mutex_);

   private:
    friend class ServingMap;

    const ServingMap& map_;
    const uint32_t generation_ = ForkGeneration();
    Mutex mutex_;  // Only ever waited for while the map changes.
    std::shared_ptr<const Models> models_ FS_GUARDED_BY(mutex_);
  };

 private:
  std::shared_ptr<const Models> Load() const FS_EXCLUDES(mutex_);
  void Store(std::shared_ptr<const Models> models) FS_REQUIRES(writing_) FS_EXCLUDES(mutex_);

  Mutex writing_;  // One writer at a time.
  // Relaxed: the mutexes carry the map; the number only tells others to go and look.
  std::atomic<uint64_t> changes_{0};
  mutable Mutex mutex_;
  std::shared_ptr<const Models> models_ FS_GUARDED_BY(mutex_);
  mutable std::vector<Reader*> readers_ FS_GUARDED_BY(mutex_);
};

}  // namespace fastserve
