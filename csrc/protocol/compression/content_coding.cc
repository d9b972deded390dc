#include "protocol/compression/content_coding.h"

#include <array>
#include <cstddef>

#include "protocol/http1.h"

namespace fastserve {
namespace {

constexpr std::array<std::string_view, 3> kNames = {"identity", "gzip", "deflate"};

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Takes what stands before the next `separator` off the text.
std::string_view TakeUntil(char separator, std::string_view* text) {
  const size_t end = text->find(separator);
  const std::string_view taken = text->substr(0, end);
  text->remove_prefix(end == std::string_view::npos ? text->size() : end + 1);
  return Trim(taken);
}

// A weight in thousandths, "0" to "1" with up to three digits behind the point; nothing for what is
// no weight.
std::optional<int> ParseWeight(std::string_view text) {
  if (text.empty() || text.size() > 5 || (text[0] != '0' && text[0] != '1')) return std::nullopt;
  int weight = (text[0] - '0') * 1000;
  if (text.size() > 1 && text[1] != '.') return std::nullopt;
  int place = 100;
  for (size_t i = 2; i < text.size(); ++i, place /= 10) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    weight += (text[i] - '0') * place;
  }
  return weight <= 1000 ? std::optional(weight) : std::nullopt;
}

// Of "gzip;q=0.5" what stands behind the name.
std::optional<int> WeightOf(std::string_view parameters) {
  int weight = 1000;
  while (!parameters.empty()) {
    std::string_view value = TakeUntil(';', &parameters);
    const std::string_view name = TakeUntil('=', &value);
    if (!EqualsIgnoringCase(name, "q")) continue;
    const std::optional<int> parsed = ParseWeight(Trim(value));
    if (!parsed) return std::nullopt;
    weight = *parsed;
  }
  return weight;
}

}  // namespace

std::string_view NameOf(ContentCoding coding) { return kNames[static_cast<size_t>(coding)]; }

std::optional<ContentCoding> ParseCoding(std::string_view name) {
  if (name.empty()) return ContentCoding::kIdentity;
  if (EqualsIgnoringCase(name, "x-gzip")) return ContentCoding::kGzip;
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (EqualsIgnoringCase(name, kNames[i])) return static_cast<ContentCoding>(i);
  }
  return std::nullopt;
}

bool ListsCoding(std::string_view list, ContentCoding coding) {
  while (!list.empty()) {
    if (EqualsIgnoringCase(TakeUntil(',', &list), NameOf(coding))) return true;
  }
  return false;
}

AcceptedCoding ChooseCoding(std::string_view accepted) {
  constexpr int kUnsaid = -1;
  std::array<int, kNames.size()> weights;
  weights.fill(kUnsaid);
  int others = kUnsaid;  // "*"
  size_t named = 0;      // Beside "identity", which is no compression.
  while (!accepted.empty()) {
    std::string_view item = TakeUntil(',', &accepted);
    const std::string_view name = TakeUntil(';', &item);
    const std::optional<int> weight = WeightOf(item);
    if (name.empty() || !weight) continue;
    const std::optional<ContentCoding> coding = ParseCoding(name);
    named += coding == ContentCoding::kIdentity || *weight == 0 ? 0 : 1;
    if (coding) weights[static_cast<size_t>(*coding)] = *weight;
    if (name == "*") others = *weight;
  }
  AcceptedCoding chosen;
  int best = 0;
  for (const ContentCoding coding : {ContentCoding::kGzip, ContentCoding::kDeflate}) {
    const int said = weights[static_cast<size_t>(coding)];
    const int weight = said == kUnsaid ? others : said;
    if (weight <= best) continue;
    best = weight;
    chosen.coding = coding;
  }
  // Who would rather have it as it is says so.
  if (weights[0] > best) chosen.coding = ContentCoding::kIdentity;
  chosen.is_only = chosen.coding != ContentCoding::kIdentity && named == 1;
  return chosen;
}

}  // namespace fastserve
