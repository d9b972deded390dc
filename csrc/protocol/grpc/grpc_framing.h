// gRPC over HTTP/2, but for the streams themselves: message prefixes, deadlines, status.
//
//   path "/inference.GRPCInferenceService/ModelInfer", content-type "application/grpc[+proto]"
//   message = flag (1 byte: 1 means compressed), length (4 bytes, big-endian), bytes
//   end     = trailers grpc-status, grpc-message (percent-encoded)
//
// Source: gRPC over HTTP2 (the protocol's own document), status codes and their HTTP mapping.
// Threads: none.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace fastserve {

inline constexpr size_t kGrpcPrefixBytes = 5;

struct GrpcPrefix {
  bool is_compressed = false;
  uint32_t length = 0;
};

// Errors: INTERNAL for a flag that is neither 0 nor 1, as gRPC's own libraries say.
Result<GrpcPrefix> ParseGrpcPrefix(std::string_view bytes);
std::array<char, kGrpcPrefixBytes> FormatGrpcPrefix(GrpcPrefix prefix);

// "application/grpc", "application/grpc+proto", with or without parameters.
bool IsGrpcContentType(std::string_view value);

// grpc-timeout in nanoseconds, "100m" is 100 ms: at most eight digits and a unit of HMSmun. Nothing
// for what is none; int64's largest for what does not fit.
std::optional<int64_t> ParseGrpcTimeout(std::string_view value);

// The reverse: the finest unit in which the time has at most eight digits, rounded up. `timeout_ns`
// is at least 0.
std::string FormatGrpcTimeout(int64_t timeout_ns);

// As grpc-message carries it: all but printable ASCII, and '%', as %XX.
std::string EncodeGrpcMessage(std::string_view message);

// The decimal digits of a code, "13".
std::string_view GrpcCodeText(Code code);
// The reverse; UNKNOWN for what is no code, as gRPC's own libraries take it.
Code ParseGrpcCode(std::string_view text);

}  // namespace fastserve
