#include "serving/serving_map.h"

#include <charconv>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace fastserve {
namespace {

std::optional<int64_t> ParseVersion(std::string_view text) {
  uint64_t number = 0;  // Unsigned, so that no sign is accepted.
  const char* end = text.data() + text.size();
  const auto [parsed, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || parsed != end) return std::nullopt;
  return static_cast<int64_t>(number);
}

Status CheckLabel(std::string_view label) {
  const std::string_view digits = label.starts_with('-') ? label.substr(1) : label;
  const bool is_number = digits.find_first_not_of("0123456789") == std::string_view::npos;
  if (!is_number && label.size() <= ServingMap::kLabelBytesMax) return {};
  return InvalidArgument("expected as label 1 to ", ServingMap::kLabelBytesMax,
                         " bytes that are no number, found '",
                         label.substr(0, ServingMap::kLabelBytesMax), "'");
}

}  // namespace

ServingMap::ServingMap() : models_(std::make_shared<const Models>()) {}

ServableHandle ServingMap::Publish(ServableHandle servable) {
  const MutexLock lock(writing_);
  auto models = std::make_shared<Models>(*Load());
  const int64_t version = servable->version();
  Model& model = (*models)[servable->name()];
  ServableHandle replaced = std::exchange(model.versions[version], std::move(servable));
  model.FindDefault();
  Store(std::move(models));
  return replaced;
}

Result<ServableHandle> ServingMap::Retire(const std::string& name, int64_t version) {
  const MutexLock lock(writing_);
  auto models = std::make_shared<Models>(*Load());
  const auto model = models->find(name);
  if (model == models->end() || model->second.versions.empty()) {
    return NotFound("no model '", name, "' is served");
  }
  const auto found = model->second.versions.find(version);
  if (found == model->second.versions.end()) {
    return NotFound("version ", version, " of model '", name, "' is not served");
  }
  ServableHandle retired = std::move(found->second);
  model->second.versions.erase(found);
  model->second.FindDefault();
  if (model->second.is_empty()) models->erase(model);
  Store(std::move(models));
  return retired;
}

Status ServingMap::Route(const std::string& name, std::map<std::string, int64_t> labels,
                         std::optional<int64_t> default_version) {
  for (const auto& [label, version] : labels) FS_RETURN_IF_ERROR(CheckLabel(label));
  const MutexLock lock(writing_);
  auto models = std::make_shared<Models>(*Load());
  Model& model = (*models)[name];
  model.labels.clear();
  model.labels.insert(std::make_move_iterator(labels.begin()),
                      std::make_move_iterator(labels.end()));
  model.default_version = default_version;
  model.FindDefault();
  if (model.is_empty()) models->erase(name);
  Store(std::move(models));
  return {};
}

ServableHandle ServingMap::Model::Find(int64_t version) const {
  const auto found = versions.find(version);
  return found == versions.end() ? nullptr : found->second;
}

void ServingMap::Model::FindDefault() {
  by_default = default_version ? Find(*default_version) : nullptr;
  if (by_default == nullptr && !versions.empty()) by_default = versions.rbegin()->second;
}

ServableHandle ServingMap::Find(std::string_view name, std::string_view version) const {
  return FindIn(*Load(), name, version);
}

size_t ServingMap::TrimMemory() const {
  size_t bytes = 0;
  const std::shared_ptr<const Models> models = Load();
  for (const auto& [name, model] : *models) {
    for (const auto& [version, servable] : model.versions) bytes += servable->TrimMemory();
  }
  return bytes;
}

std::shared_ptr<const ServingMap::Models> ServingMap::Load() const {
  const MutexLock lock(mutex_);
  return models_;
}

void ServingMap::Store(std::shared_ptr<const Models> models) {
  const MutexLock lock(mutex_);
  for (Reader* const reader : readers_) {
    const MutexLock reader_lock(reader->mutex_);
    reader->models_ = models;
  }
  models_ = std::move(models);  // What it held goes with the last of them: to the Reaper.
  changes_.fetch_add(1, std::memory_order_relaxed);
}

ServingMap::Reader::Reader(const ServingMap& map) : map_(map) {
  const MutexLock lock(map.mutex_);
  map.readers_.push_back(this);
  const MutexLock reader_lock(mutex_);
  models_ = map.models_;
}

ServingMap::Reader::~Reader() {
  // In the child of a fork another thread may hold the mutex for ever, and nothing is served there.
  if (ForkedSince(generation_)) return;
  const MutexLock lock(map_.mutex_);
  std::erase(map_.readers_, this);
}

ServableHandle ServingMap::Reader::Find(std::string_view name, std::string_view version) {
  const MutexLock lock(mutex_);
  return FindIn(*models_, name, version);
}

ServableHandle ServingMap::FindIn(const Models& models, std::string_view name,
                                  std::string_view version) {
  const auto found = models.find(name);
  if (found == models.end()) return nullptr;
  const Model& model = found->second;
  if (version.empty()) return model.by_default;
  const std::optional<int64_t> number = ParseVersion(version);
  if (number) return model.Find(*number);
  if (version == "-1") return model.by_default;  // As some clients write it.
  const auto label = model.labels.find(version);
  return label == model.labels.end() ? nullptr : model.Find(label->second);
}

}  // namespace fastserve
