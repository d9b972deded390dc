#include "gateway/http/router.h"

#include <algorithm>
#include <array>

#include "protocol/http1.h"

namespace fastserve {
namespace {

constexpr std::string_view kModels = "/v2/models/";
constexpr std::string_view kVersions = "/versions/";

struct Word {
  std::string_view text;
  InferFormat format;
};
constexpr std::array kWords = {Word{"/infer", InferFormat::kKserve},
                               Word{"/generate", InferFormat::kGenerate},
                               Word{"/generate_stream", InferFormat::kGenerateStream}};

// A number, or a label that somebody gave to a version.
bool IsVersion(std::string_view text) {
  constexpr std::string_view kCharacters =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._-";
  return !text.empty() && text.find_first_not_of(kCharacters) == std::string_view::npos;
}

}  // namespace

std::string_view PathOf(std::string_view target) { return target.substr(0, target.find('?')); }

std::string_view QueryOf(std::string_view target) {
  const size_t mark = target.find('?');
  return mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);
}

Route FindRoute(std::string_view method, std::string_view target, std::string* storage) {
  const std::string_view path = PathOf(target);
  if (method != "POST" || !path.starts_with(kModels)) return {};
  std::string_view middle = path.substr(kModels.size());
  const auto* const word =
      std::ranges::find_if(kWords, [&](const Word& one) { return middle.ends_with(one.text); });
  if (word == kWords.end() || middle.size() == word->text.size()) return {};
  middle.remove_suffix(word->text.size());
  Route route{.is_infer = true, .format = word->format, .model = middle, .version = {}};
  // Taken apart before it is decoded: a "%2F" in a name is no separator.
  const size_t slash = middle.find('/');
  if (slash != std::string_view::npos) {
    route.model = middle.substr(0, slash);
    const std::string_view rest = middle.substr(slash);
    if (!rest.starts_with(kVersions)) return {};
    route.version = rest.substr(kVersions.size());
    if (!IsVersion(route.version)) return {};
  }
  if (route.model.empty()) return {};
  if (route.model.find('%') != std::string_view::npos) {
    storage->clear();
    if (!PercentDecode(route.model, storage)) return {};
    route.model = *storage;
  }
  return route;
}

}  // namespace fastserve
