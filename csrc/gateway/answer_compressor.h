// AnswerCompressor: whether an answer is compressed, and how.
//
// It is where the client takes that and it pays: never below a packet's length, never when it comes
// out longer. Libraries say "gzip, deflate" in each request whoever uses them; so over HTTP the
// bytes of tensors, which hardly become fewer and hold the loop up, are compressed for those alone
// that name one coding and no other, as Triton's client does when its user asks for it.
//
// Threads: confined to the event loop's; one per loop, reused.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "protocol/byte_writer.h"
#include "protocol/compression/content_coding.h"
#include "protocol/compression/deflater.h"
#include "protocol/output_part.h"

namespace fastserve {

class AnswerCompressor {
 public:
  // Answers below it fit one packet as they are (Ethernet's 1500 bytes less the heads).
  static constexpr size_t kBytesMin = 1400;

  // An answer over HTTP: `body`, and `tensors` behind it. True: `out` has it, in accepted.coding.
  // Lack of memory leaves it as it is.
  bool CompressBody(AcceptedCoding accepted, std::string_view body,
                    std::span<const OutputPart> tensors, ByteWriter* out);
  // A message over gRPC: `text` begins with its prefix, which is left out, and the bytes of
  // tensors[i] follow its first cuts[i] bytes.
  bool CompressMessage(ContentCoding coding, std::string_view text, std::span<const size_t> cuts,
                       std::span<const OutputPart> tensors, ByteWriter* out);

 private:
  bool Compress(ContentCoding coding, ByteWriter* out);

  Deflater deflater_;
  std::vector<std::string_view> parts_;
};

}  // namespace fastserve
