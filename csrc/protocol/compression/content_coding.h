// ContentCoding: how a body, or a gRPC message, is compressed, and what both sides call that.
//
// "deflate" is zlib's format (RFC 1950), as HTTP defines it and as gRPC's libraries send it.
//
// Source: RFC 9110, 8.4.1 and 12.5.3; gRPC's "compression" document.
// Threads: pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace fastserve {

enum class ContentCoding : uint8_t { kIdentity, kGzip, kDeflate };

// "identity", "gzip", "deflate".
std::string_view NameOf(ContentCoding coding);

// The coding of that name, in letters of any case; "x-gzip" and "" are names, too. Nothing for
// another one, and for a list of codings: who compresses twice is not understood.
std::optional<ContentCoding> ParseCoding(std::string_view name);

// Whether a list of names ("identity, gzip"), without weights, has the coding's.
bool ListsCoding(std::string_view list, ContentCoding coding);

// What an Accept-Encoding (RFC 9110) asks for.
struct AcceptedCoding {
  ContentCoding coding = ContentCoding::kIdentity;  // Of those that we have, the most welcome.
  // No other coding was named beside it. Libraries name all that they know in each request; who
  // names one wants it.
  bool is_only = false;
};
// Gzip of two that are as welcome. What cannot be understood is passed over.
AcceptedCoding ChooseCoding(std::string_view accepted);

}  // namespace fastserve
