// What a client does with a server's bytes over HTTP/1.1. An input is what the server says.
//
// Oracles: an answer is read alike whole and byte by byte; Http1ResponseReader finds its head where
// the session does; tensors are what their types and shapes say, within memory that lives.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "base/check.h"
#include "client/http_session.h"
#include "protocol/client/http1_response_reader.h"

namespace fastserve {
namespace {

void CheckTensors(HttpSession& session) {
  InferBody answer;
  if (!session.DecodeInfer(&answer).ok()) return;
  for (const InferInput& output : answer.inputs) {
    FS_CHECK(ValidateTensor(output.name, output.tensor).ok());
    if (output.tensor.bytes.empty()) continue;
    FS_CHECK(static_cast<bool>(session.OwnerOf(output.tensor.bytes)));
    volatile std::byte last = output.tensor.bytes.back();
    static_cast<void>(last);
  }
}

// What came of it.
std::string Play(std::string_view text, size_t piece, SlabPool& pool) {
  auto session = *HttpSession::Create({.body_bytes_max = 1 << 16}, pool);
  Http2Output output;
  FS_CHECK(session->Begin({.authority = "a"}, "", &output).ok());
  while (!text.empty() && !session->is_done()) {
    const std::span<std::byte> buffer = session->GetBuffer();
    FS_CHECK(!buffer.empty());
    const size_t taken = std::min({text.size(), piece, buffer.size()});
    std::memcpy(buffer.data(), text.data(), taken);
    text.remove_prefix(taken);
    const Status status = session->Received(taken);
    if (!status.ok()) return std::string(CodeName(status.code()));
  }
  if (!session->is_done() && !session->Ended().ok()) return "ended";
  FS_CHECK(session->is_done());
  CheckTensors(*session);
  const std::span<const std::byte> body = session->body();
  std::string said = StrCat(session->answer().status, " ");
  if (!body.empty()) said.append(reinterpret_cast<const char*>(body.data()), body.size());
  return said;
}

void CheckHead(std::string_view text) {
  Http1ResponseReader whole;
  Http1Answer answer;
  if (whole.Read(text, &answer) != Http1Progress::kDone) return;
  FS_CHECK_OP(answer.bytes, <=, text.size());
  Http1ResponseReader by_bytes;
  Http1Answer again;
  size_t size = 1;
  while (by_bytes.Read(text.substr(0, size), &again) == Http1Progress::kNeedMore) ++size;
  FS_CHECK_OP(again.bytes, ==, answer.bytes);
  FS_CHECK_OP(again.fields.size(), ==, answer.fields.size());
}

}  // namespace
}  // namespace fastserve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fastserve;
  static SlabPool* const pool = SlabPool::Create({.bytes_max = 1 << 24}).release();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  CheckHead(text);
  const std::string whole = Play(text, std::string_view::npos, *pool);
  FS_CHECK(Play(text, 1, *pool) == whole);
  return 0;
}
