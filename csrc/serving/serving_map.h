// ServingMap: which versions are served now.
//
// The control plane publishes and retires; each request looks up once, when its head is there, and
// keeps what it found: a slow upload is answered by the version that its URL named then, and does
// not keep others from being retired.
//
//   ServingMap map;
//   map.Publish(servable);                                  // any thread
//   ServingMap::Reader reader(map);                         // one per event loop
//   ServableHandle servable = reader.Find("digits", "");    // null when there is none
//
// Threads: Publish, Retire and Find from any thread; a Reader is confined to one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/annotations.h"
#include "base/status.h"
#include "serving/servable.h"
#include "sync/snapshot.h"

namespace fastserve {

class ServingMap {
 public:
  ServingMap();
  ServingMap(const ServingMap&) = delete;
  ServingMap& operator=(const ServingMap&) = delete;

  // Serves it from now on. A version of that name and number that is there already is replaced. The
  // highest version of a name is its default.
  void Publish(ServableHandle servable) FS_EXCLUDES(mutex_);

  // Stops finding it; what is in flight finishes. Returns what was retired, so that the caller
  // decides where it is destroyed. Errors: NOT_FOUND.
  Result<ServableHandle> Retire(const std::string& name, int64_t version) FS_EXCLUDES(mutex_);

  // As Reader::Find, for a thread that looks up now and then: takes a mutex for the time of a copy.
  ServableHandle Find(std::string_view name, std::string_view version) const;

  // Gives back what the served versions keep for their next batches; returns how many bytes.
  size_t TrimMemory() const;

  // A number that each change of the map changes. Whoever read it before a Find need not look again
  // until it is another; to be remembered with a weak reference, so that nothing is kept alive.
  uint64_t changes() const { return models_.version(); }

 private:
  struct TransparentHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  using Versions = std::map<int64_t, ServableHandle>;
  using Models = std::unordered_map<std::string, Versions, TransparentHash, std::equal_to<>>;

  static ServableHandle FindIn(const Models& models, std::string_view name,
                               std::string_view version);

 public:
  class Reader {
   public:
    explicit Reader(const ServingMap& map) : models_(map.models_) {}
    // `version` is decimal digits; "" is the default version. Null when it is not served.
    ServableHandle Find(std::string_view name, std::string_view version);

   private:
    Snapshot<Models>::Reader models_;
  };

 private:
  Mutex mutex_;  // One writer at a time.
  Snapshot<Models> models_;
};

}  // namespace fastserve
