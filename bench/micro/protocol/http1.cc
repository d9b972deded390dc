// Nanoseconds that the HTTP/1.1 codec takes: request heads, a chunked body, an answer's head.
#include "protocol/http1.h"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "protocol/http1_response.h"
#include "timing.h"

namespace fastserve {
namespace {

constexpr int kCalls = 5'000;

// What tritonclient sends for a small tensor, 5 fields.
constexpr std::string_view kInferHead =
    "POST /v2/models/identity/infer HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"
    "User-Agent: python-requests/2.31\r\nContent-Type: application/octet-stream\r\n"
    "Inference-Header-Content-Length: 180\r\nContent-Length: 244\r\n\r\n";
// What a browser sends, 12 fields.
constexpr std::string_view kBrowserHead =
    "GET /dashboard HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nConnection: keep-alive\r\n"
    "Cache-Control: max-age=0\r\nUpgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/120.0.0.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp\r\n"
    "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\n"
    "Sec-Fetch-Dest: document\r\nAccept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-US,en;q=0.9\r\n\r\n";

void Check(bool condition) {
  if (!condition) std::abort();
}

double TimeHead(std::string_view message, size_t pieces) {
  Http1HeadReader reader;
  Http1Head head;
  return BestNanosPerCall(kCalls, [&] {
    for (size_t piece = 1; piece < pieces; ++piece) {
      Check(reader.Read(message.substr(0, message.size() * piece / pieces), &head) ==
            Http1Progress::kNeedMore);
    }
    Check(reader.Read(message, &head) == Http1Progress::kDone);
  });
}

double TimeChunks(size_t chunks, size_t chunk_bytes) {
  std::string message;
  char size[20];
  for (size_t i = 0; i < chunks; ++i) {
    std::snprintf(size, sizeof size, "%zx\r\n", chunk_bytes);
    message += size + std::string(chunk_bytes, 'x') + "\r\n";
  }
  message += "0\r\n\r\n";
  ChunkedReader reader;
  return BestNanosPerCall(kCalls / 5, [&] {
    reader.Reset(chunks * chunk_bytes);
    std::string_view left = message;
    size_t body_bytes = 0;
    Http1Progress progress = Http1Progress::kNeedMore;
    while (progress == Http1Progress::kNeedMore) {
      const ChunkedReader::Step step = reader.Read(left);
      body_bytes += step.data.size();
      left.remove_prefix(step.consumed);
      progress = step.progress;
    }
    Check(progress == Http1Progress::kDone && body_bytes == chunks * chunk_bytes);
  });
}

double TimeResponse() {
  ByteWriter out;
  return BestNanosPerCall(kCalls, [&] {
    out.Clear();
    AppendHttp1Head({.content_length = 312,
                     .content_type = "application/octet-stream",
                     .inference_header_length = 248},
                    &out);
    Check(out.size() > 0);
  });
}

}  // namespace
}  // namespace fastserve

int main() {
  using namespace fastserve;  // NOLINT
  std::printf("request head, 5 fields             %8.1f ns\n", TimeHead(kInferHead, 1));
  std::printf("request head, 5 fields, 3 pieces   %8.1f ns\n", TimeHead(kInferHead, 3));
  std::printf("request head, 12 fields            %8.1f ns\n", TimeHead(kBrowserHead, 1));
  std::printf("chunked body, 64 chunks of 1 KiB   %8.1f ns\n", TimeChunks(64, 1024));
  std::printf("response head                      %8.1f ns\n", TimeResponse());
}
