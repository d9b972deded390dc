// What a client does with a server's bytes over HTTP/2. An input is what the server says, after its
// SETTINGS unless it begins with a NUL, to a client that has two calls.
//
// Oracles: each call ends at most once, and what is taken of it is said alike whole and byte by
// byte; tensors are what their types and shapes say; nothing stays when all is forgotten.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "base/check.h"
#include "client/grpc_session.h"

namespace fastserve {
namespace {

void Drop(GrpcSession& session) {
  static_cast<void>(session.Send());
  session.output().Clear();
}

void CheckMessage(GrpcSession& session, const GrpcMessage& message) {
  InferBody answer;
  if (!session.DecodeInfer(message.bytes, message.owner, &answer).ok()) return;
  for (const InferInput& output : answer.inputs) {
    FS_CHECK(ValidateTensor(output.name, output.tensor).ok());
    FS_CHECK(output.tensor.bytes.empty() || session.OwnerOf(output.tensor.bytes));
  }
}

// Takes all that has come of a call.
void TakeAll(GrpcSession& session, int32_t call, std::string* said) {
  while (const std::optional<GrpcMessage> message = session.TakeMessage(call)) {
    said->append(reinterpret_cast<const char*>(message->bytes.data()), message->bytes.size());
    said->push_back('|');
    CheckMessage(session, *message);
  }
}

std::string Play(std::string_view bytes, size_t piece, SlabPool& pool) {
  auto session = *GrpcSession::Create({.message_bytes_max = 1 << 16}, pool);
  std::string said[2];
  int32_t calls[2] = {};
  for (int32_t& call : calls) {
    call = *session->Start({.path = "/s/M", .authority = "a"});
    FS_CHECK(session->Write(call, "x").ok());
    session->End(call);
  }
  Drop(*session);
  bool is_broken = false;
  while (!bytes.empty() && !is_broken) {
    const std::span<std::byte> buffer = session->GetBuffer();
    const size_t taken = std::min({bytes.size(), piece, buffer.size()});
    std::memcpy(buffer.data(), bytes.data(), taken);
    bytes.remove_prefix(taken);
    is_broken = !session->Received(taken).ok();
    for (const int32_t changed : session->TakeChanged()) {
      FS_CHECK(changed == calls[0] || changed == calls[1]);
      TakeAll(*session, changed, &said[changed == calls[1]]);
    }
    if (!is_broken) Drop(*session);
  }
  if (!is_broken) session->Fail(Unavailable("the end"));
  for (size_t i = 0; i < 2; ++i) {
    TakeAll(*session, calls[i], &said[i]);
    const Status* const end = session->EndOf(calls[i]);
    FS_CHECK(end != nullptr);
    said[i] += StrCat(CodeName(end->code()), ";");
    session->Forget(calls[i]);
  }
  FS_CHECK_OP(session->calls(), ==, size_t{0});
  return said[0] + said[1];
}

}  // namespace
}  // namespace fastserve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fastserve;
  static SlabPool* const pool = SlabPool::Create({.bytes_max = 1 << 26}).release();
  std::string_view input(reinterpret_cast<const char*>(data), size);
  std::string bytes;
  if (input.starts_with('\0')) {
    input.remove_prefix(1);
  } else {
    bytes = std::string("\0\0\0\4\0\0\0\0\0", 9);
  }
  bytes += input;
  const std::string whole = Play(bytes, std::string_view::npos, *pool);
  FS_CHECK(Play(bytes, 1, *pool) == whole);
  return 0;
}
