#include "gateway/memory/local_client.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace fastserve {
namespace {

Http1Head HeadOf(std::vector<HttpField> fields) {
  Http1Head head;
  head.fields = std::move(fields);
  return head;
}

const Peer kLoopback{.address = "127.0.0.1", .port = 4000};
const Peer kUnixPeer{.address = "unix"};

TEST(LocalClient, AddressesOfThisMachineAreLoopbackAndUnix) {
  for (const char* local : {"unix", "127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"}) {
    EXPECT_TRUE(IsLocalAddress(local)) << local;
  }
  for (const char* other : {"", "192.0.2.1", "1270.0.0.1", "127.0.0.1.example.org", "127.1", "::2",
                            "::ffff:192.0.2.1", "fe80::1", "UNIX"}) {
    EXPECT_FALSE(IsLocalAddress(other)) << other;
  }
}

TEST(LocalClient, HostsOfThisMachineHaveThreeNames) {
  for (const char* local :
       {"localhost", "LocalHost:8000", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8000"}) {
    EXPECT_TRUE(IsLocalHost(local)) << local;
  }
  for (const char* other : {"", ":80", "example.org", "localhost.example.org", "127.0.0.1.nip.io",
                            "[::2]", "[::1", "localhost@example.org", "127.0.0.example"}) {
    EXPECT_FALSE(IsLocalHost(other)) << other;
  }
}

TEST(LocalClient, ProxiesAndPagesAreToldByWhatTheyAdd) {
  for (const char* field : {"Forwarded", "x-forwarded-for", "X-FORWARDED-PROTO", "X-Real-IP", "Via",
                            "origin", "Sec-Fetch-Site", "x-envoy-internal", "CF-Ray"}) {
    EXPECT_TRUE(TellsOfOthers(field)) << field;
  }
  for (const char* field : {"Host", "User-Agent", "te", "grpc-timeout", "x-forward", ""}) {
    EXPECT_FALSE(TellsOfOthers(field)) << field;
  }
}

TEST(LocalClient, ARequestMustLookAsAProgramsOwnDoes) {
  const HttpField host{"Host", "localhost:8000"};
  EXPECT_TRUE(IsLocalClient(kLoopback, HeadOf({host})));
  EXPECT_TRUE(IsLocalClient(kLoopback, HeadOf({host, {"Accept", "*/*"}})));
  EXPECT_FALSE(IsLocalClient({.address = "192.0.2.1", .port = 1}, HeadOf({host})));
  EXPECT_FALSE(IsLocalClient({}, HeadOf({host})));
  EXPECT_FALSE(IsLocalClient(kLoopback, HeadOf({})));
  EXPECT_FALSE(IsLocalClient(kLoopback, HeadOf({{"Host", "example.org"}})));
  EXPECT_FALSE(IsLocalClient(kLoopback, HeadOf({host, {"Via", "1.1 proxy"}})));
  Http1Head old = HeadOf({host});
  old.is_http10 = true;
  EXPECT_FALSE(IsLocalClient(kLoopback, old));
}

TEST(LocalClient, OverAUnixSocketAnyHostWillDo) {
  EXPECT_TRUE(IsLocalClient(kUnixPeer, HeadOf({})));
  EXPECT_TRUE(IsLocalClient(kUnixPeer, HeadOf({{"Host", "example.org"}})));
  EXPECT_FALSE(IsLocalClient(kUnixPeer, HeadOf({{"X-Forwarded-For", "192.0.2.1"}})));
}

bool IsLocalOverHttp2(std::string_view authority, const std::vector<Http2Field>& fields) {
  Http2Head head;
  head.authority = authority;
  head.fields = fields;
  return IsLocalClient(kLoopback, head);
}

TEST(LocalClient, OverHttp2TheAuthorityIsTheHost) {
  EXPECT_TRUE(IsLocalOverHttp2("localhost", {{"te", "trailers"}}));
  EXPECT_TRUE(IsLocalOverHttp2("", {{"host", "localhost"}}));
  EXPECT_FALSE(IsLocalOverHttp2("example.org", {{"host", "localhost"}}));
  EXPECT_FALSE(IsLocalOverHttp2("localhost", {{"x-forwarded-for", "192.0.2.1"}}));
  EXPECT_FALSE(IsLocalOverHttp2("", {}));
}

}  // namespace
}  // namespace fastserve
