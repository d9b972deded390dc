#include "gateway/memory/local_client.h"

#include <algorithm>
#include <array>

namespace fastserve {
namespace {

constexpr std::string_view kUnix = "unix";

// What proxies add, by any name that begins so; and what browsers do.
constexpr std::array<std::string_view, 9> kTelltales = {
    "forwarded", "x-forwarded-", "x-real-ip", "x-client-ip", "x-envoy-",
    "via",       "cf-",          "origin",    "sec-fetch-"};

bool BeginsWith(std::string_view text, std::string_view lower_case) {
  return EqualsIgnoringCase(text.substr(0, lower_case.size()), lower_case);
}

// 127.0.0.0/8, for what has been accepted as an address or stands where only one can.
bool IsLoopbackIpv4(std::string_view address) {
  return address.starts_with("127.") && std::ranges::count(address, '.') == 3 &&
         address.find_first_not_of("0123456789.") == std::string_view::npos;
}

// Without the port, and without the brackets of an IPv6 address.
std::string_view NameOf(std::string_view host) {
  if (host.starts_with('[')) {
    const size_t end = host.find(']');
    return end == std::string_view::npos ? std::string_view() : host.substr(1, end - 1);
  }
  return host.substr(0, host.find(':'));
}

template <typename Field>
bool IsDirect(const Peer& peer, std::string_view host, std::span<const Field> fields) {
  if (!IsLocalAddress(peer.address)) return false;
  if (peer.address != kUnix && !IsLocalHost(host)) return false;
  return std::ranges::none_of(fields, [](const Field& field) { return TellsOfOthers(field.name); });
}

}  // namespace

bool IsLocalAddress(std::string_view address) {
  constexpr std::string_view kMapped = "::ffff:";
  if (address.starts_with(kMapped)) address.remove_prefix(kMapped.size());
  return address == kUnix || address == "::1" || IsLoopbackIpv4(address);
}

bool IsLocalHost(std::string_view host) {
  const std::string_view name = NameOf(host);
  return EqualsIgnoringCase(name, "localhost") || name == "::1" || IsLoopbackIpv4(name);
}

bool TellsOfOthers(std::string_view field_name) {
  return std::ranges::any_of(
      kTelltales, [&](std::string_view telltale) { return BeginsWith(field_name, telltale); });
}

bool IsLocalClient(const Peer& peer, const Http1Head& head) {
  // What proxies speak to servers unless they are told otherwise, and hardly anybody else.
  if (head.is_http10) return false;
  return IsDirect<HttpField>(peer, head.Field("host"), head.fields);
}

bool IsLocalClient(const Peer& peer, const Http2Head& head) {
  const std::string_view host = head.authority.empty() ? head.Find("host") : head.authority;
  return IsDirect(peer, host, head.fields);
}

}  // namespace fastserve
