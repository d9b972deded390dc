#include "gateway/answer_compressor.h"

#include <new>

#include "protocol/grpc/grpc_framing.h"

namespace fastserve {

bool AnswerCompressor::CompressBody(AcceptedCoding accepted, std::string_view body,
                                    std::span<const OutputPart> tensors, ByteWriter* out) {
  if (accepted.coding == ContentCoding::kIdentity) return false;
  if (!tensors.empty() && !accepted.is_only) return false;
  parts_.assign(1, body);
  for (const OutputPart& tensor : tensors) parts_.push_back(tensor.bytes);
  return Compress(accepted.coding, out);
}

bool AnswerCompressor::CompressMessage(ContentCoding coding, std::string_view text,
                                       std::span<const size_t> cuts,
                                       std::span<const OutputPart> tensors, ByteWriter* out) {
  if (coding == ContentCoding::kIdentity) return false;
  parts_.clear();
  size_t from = kGrpcPrefixBytes;
  for (size_t i = 0; i < cuts.size(); ++i) {
    parts_.push_back(text.substr(from, cuts[i] - from));
    parts_.push_back(tensors[i].bytes);
    from = cuts[i];
  }
  parts_.push_back(text.substr(from));
  return Compress(coding, out);
}

bool AnswerCompressor::Compress(ContentCoding coding, ByteWriter* out) {
  size_t plain = 0;
  for (const std::string_view part : parts_) plain += part.size();
  if (plain < kBytesMin) return false;
  try {
    return deflater_.Compress(coding, parts_, out).ok() && out->size() < plain;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

}  // namespace fastserve
