#include "gateway/http/cors.h"

#include <algorithm>

namespace fastserve {
namespace {

constexpr HttpHeader kAllowAll = {"Access-Control-Allow-Origin", "*"};
// What a page could not read otherwise: where the tensors begin, where time went, when to return.
constexpr HttpHeader kExpose = {"Access-Control-Expose-Headers",
                                "Inference-Header-Content-Length, Server-Timing, Retry-After"};
constexpr HttpHeader kVary = {"Vary", "Origin"};
constexpr std::array kForAll = {kAllowAll, kExpose};
constexpr std::array kForOthers = {kVary};

}  // namespace

CorsPolicy::CorsPolicy(const std::vector<std::string>& origins)
    : is_on_(!origins.empty()), allows_all_(std::ranges::find(origins, "*") != origins.end()) {
  for (const std::string& origin : origins) {
    Allowed& allowed = allowed_.emplace_back();
    allowed.origin = origin;
    allowed.fields = {HttpHeader{kAllowAll.name, allowed.origin}, kExpose, kVary};
  }
}

std::span<const HttpHeader> CorsPolicy::FieldsFor(std::string_view origin) const {
  if (!is_on_) return {};
  if (allows_all_) return kForAll;
  const auto found = std::ranges::find(allowed_, origin, &Allowed::origin);
  if (found == allowed_.end()) return kForOthers;
  return found->fields;
}

}  // namespace fastserve
