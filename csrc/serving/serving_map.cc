#include "serving/serving_map.h"

#include <charconv>
#include <memory>
#include <system_error>
#include <utility>

namespace fastserve {

ServingMap::ServingMap() : models_(std::make_shared<const Models>()) {}

void ServingMap::Publish(ServableHandle servable) {
  const MutexLock lock(mutex_);
  auto models = std::make_shared<Models>(*models_.Load());
  const int64_t version = servable->version();
  Versions& versions = (*models)[servable->name()];
  versions[version] = std::move(servable);
  models_.Store(std::move(models));
}

Result<ServableHandle> ServingMap::Retire(const std::string& name, int64_t version) {
  const MutexLock lock(mutex_);
  auto models = std::make_shared<Models>(*models_.Load());
  const auto model = models->find(name);
  if (model == models->end()) return NotFound("no model '", name, "' is served");
  const auto found = model->second.find(version);
  if (found == model->second.end()) {
    return NotFound("version ", version, " of model '", name, "' is not served");
  }
  ServableHandle retired = std::move(found->second);
  model->second.erase(found);
  if (model->second.empty()) models->erase(model);
  models_.Store(std::move(models));
  return retired;
}

ServableHandle ServingMap::Find(std::string_view name, std::string_view version) const {
  return FindIn(*models_.Load(), name, version);
}

size_t ServingMap::TrimMemory() const {
  size_t bytes = 0;
  const std::shared_ptr<const Models> models = models_.Load();
  for (const auto& [name, versions] : *models) {
    for (const auto& [version, servable] : versions) bytes += servable->TrimMemory();
  }
  return bytes;
}

ServableHandle ServingMap::Reader::Find(std::string_view name, std::string_view version) {
  return FindIn(*models_.Get(), name, version);
}

ServableHandle ServingMap::FindIn(const Models& models, std::string_view name,
                                  std::string_view version) {
  const auto model = models.find(name);
  if (model == models.end()) return nullptr;
  const Versions& versions = model->second;
  if (version.empty()) return versions.rbegin()->second;
  uint64_t number = 0;  // Unsigned, so that no sign is accepted.
  const char* end = version.data() + version.size();
  const auto [parsed, error] = std::from_chars(version.data(), end, number);
  if (error != std::errc() || parsed != end) return nullptr;
  const auto found = versions.find(static_cast<int64_t>(number));
  return found == versions.end() ? nullptr : found->second;
}

}  // namespace fastserve
