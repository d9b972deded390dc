// Compression. The first byte of an input says what is done with the rest: it is inflated as gzip
// or as zlib's format, or it is a text to compress, or a list of codings.
//
// Oracles: zlib's own inflate on the whole input at once; a text that is compressed comes back; a
// coding that is chosen of a list is named in it, or is any ("*").
#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "protocol/compression/content_coding.h"
#include "protocol/compression/deflater.h"
#include "protocol/compression/inflater.h"

namespace fastserve {
namespace {

constexpr size_t kTextMax = 1 << 20;

struct Outcome {
  bool is_good = false;
  std::string text;
  bool is_too_long = false;
};

Outcome ByInflater(ContentCoding coding, std::string_view data, size_t step) {
  Inflater inflater(coding, std::as_bytes(std::span(data.data(), data.size())));
  Outcome outcome;
  std::vector<std::byte> room(step);
  while (true) {
    const Result<size_t> read = inflater.Read(room);
    if (!read.ok()) return outcome;
    outcome.text.append(reinterpret_cast<const char*>(room.data()), *read);
    if (outcome.text.size() > kTextMax) outcome.is_too_long = true;
    if (*read < step || outcome.is_too_long) break;
  }
  outcome.is_good = !outcome.is_too_long;
  return outcome;
}

// Member for member, each with its own stream.
Outcome ByZlib(ContentCoding coding, std::string_view data) {
  Outcome outcome;
  do {
    z_stream stream{};
    FS_CHECK(inflateInit2(&stream, (coding == ContentCoding::kGzip ? 16 : 0) + MAX_WBITS) == Z_OK);
    std::string text(kTextMax + 1, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
    stream.avail_in = static_cast<uInt>(data.size());
    stream.next_out = reinterpret_cast<Bytef*>(text.data());
    stream.avail_out = static_cast<uInt>(text.size());
    const int result = inflate(&stream, Z_FINISH);
    text.resize(stream.total_out);
    data.remove_prefix(data.size() - stream.avail_in);
    inflateEnd(&stream);
    outcome.text += text;
    outcome.is_too_long = outcome.text.size() > kTextMax;
    if (outcome.is_too_long || result != Z_STREAM_END) return outcome;
  } while (!data.empty() && coding == ContentCoding::kGzip);
  outcome.is_good = data.empty();
  return outcome;
}

void CheckInflate(ContentCoding coding, std::string_view data) {
  const Outcome expected = ByZlib(coding, data);
  for (const size_t step : {size_t{100}, size_t{70'000}}) {
    const Outcome outcome = ByInflater(coding, data, step);
    FS_CHECK(outcome.is_too_long == expected.is_too_long || !outcome.is_good);
    if (expected.is_too_long) continue;
    FS_CHECK(outcome.is_good == expected.is_good);
    if (expected.is_good) FS_CHECK(outcome.text == expected.text);
  }
}

void CheckRoundTrip(ContentCoding coding, std::string_view text) {
  Deflater deflater;
  for (int round = 0; round < 2; ++round) {
    ByteWriter out;
    const std::string_view parts[] = {text.substr(0, text.size() / 3),
                                      text.substr(text.size() / 3)};
    FS_CHECK(deflater.Compress(coding, parts, &out).ok());
    const Outcome outcome = ByInflater(coding, out.view(), 1000);
    FS_CHECK(outcome.is_good && outcome.text == text);
  }
}

void CheckChoice(std::string_view list) {
  const AcceptedCoding chosen = ChooseCoding(list);
  if (chosen.coding == ContentCoding::kIdentity) {
    FS_CHECK(!chosen.is_only);
    return;
  }
  std::string lower(list);
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  });
  FS_CHECK(lower.find(NameOf(chosen.coding)) != std::string::npos ||
           lower.find('*') != std::string::npos);
}

}  // namespace
}  // namespace fastserve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto coding =
      (data[0] & 1) == 0 ? fastserve::ContentCoding::kGzip : fastserve::ContentCoding::kDeflate;
  switch (data[0] / 2 % 3) {
    case 0:
      fastserve::CheckInflate(coding, input);
      break;
    case 1:
      fastserve::CheckRoundTrip(coding, input);
      break;
    default:
      fastserve::CheckChoice(input);
      fastserve::ParseCoding(input);
      fastserve::ListsCoding(input, coding);
  }
  return 0;
}
