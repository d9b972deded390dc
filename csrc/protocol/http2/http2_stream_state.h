// Http2StreamState: one request of a session and what is to be sent of its answer; the inner half
// of Http2Session.
//
// Threads: none.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/byte_writer.h"
#include "protocol/http2/http2_output.h"
#include "tensor/buffer.h"

namespace fastserve {

// Reused, with the capacity of what it holds.
struct Http2StreamState {
  // Payloads up to this size are copied: cheaper than a reference to them.
  static constexpr size_t kCopiedMax = 4 << 10;

  void* context = nullptr;
  bool has_context = false;
  bool is_answered = false;
  bool is_deferred = false;
  bool is_ended = false;
  size_t unsent = 0;
  std::vector<std::pair<std::string, std::string>> trailers;

  void Clear() {
    context = nullptr;
    has_context = is_answered = is_deferred = is_ended = false;
    ForgetPieces();
    unsent = 0;
    trailers.clear();
  }

  void Write(std::string_view data, const BufferRef& owner) {
    Compact();
    if (owner && data.size() > kCopiedMax) {
      pieces_.push_back({.external = data, .owner = owner, .size = data.size()});
    } else {
      const size_t offset = text_.size();
      text_.Append(data);
      // One that is still whole grows: few pieces are few steps.
      if (!pieces_.empty() && !pieces_.back().owner) {
        pieces_.back().size += data.size();
      } else {
        pieces_.push_back({.offset = offset, .external = {}, .owner = {}, .size = data.size()});
      }
    }
    unsent += data.size();
  }

  // Moves the next `length` bytes, of those unsent, behind `output`.
  void Send(size_t length, Http2Output* output) {
    unsent -= length;
    while (length > 0) {
      Piece& piece = pieces_[next_piece_];
      const size_t taken = std::min(length, piece.size - piece.sent);
      const std::string_view bytes = piece.owner
                                         ? piece.external.substr(piece.sent, taken)
                                         : text_.view().substr(piece.offset + piece.sent, taken);
      if (piece.owner && taken > kCopiedMax) {
        output->Append(bytes, piece.owner);
      } else {
        output->Append(bytes);
      }
      piece.sent += taken;
      length -= taken;
      if (piece.sent < piece.size) break;
      piece.owner = BufferRef();
      ++next_piece_;
    }
    if (unsent == 0) ForgetPieces();
  }

 private:
  // Copied bytes of one answer that is sent in part: then those that were sent make room.
  static constexpr size_t kCompactBytes = 64 << 10;

  // Copied bytes stand in `text_`, at `offset`.
  struct Piece {
    size_t offset = 0;
    std::string_view external;
    BufferRef owner;
    size_t size = 0;
    size_t sent = 0;
  };

  void ForgetPieces() {
    text_.Clear();
    if (text_.capacity() > kCompactBytes) text_ = ByteWriter();
    pieces_.clear();
    next_piece_ = 0;
  }

  // Of an answer without an end, what was sent must not stay.
  void Compact() {
    if (text_.size() < kCompactBytes || unsent > text_.size() / 2) return;
    ByteWriter kept;
    std::vector<Piece> rest;
    for (size_t i = next_piece_; i < pieces_.size(); ++i) {
      Piece& piece = rest.emplace_back(std::move(pieces_[i]));
      if (piece.owner) continue;
      const size_t offset = kept.size();
      kept.Append(text_.view().substr(piece.offset + piece.sent, piece.size - piece.sent));
      piece = {.offset = offset, .external = {}, .owner = {}, .size = piece.size - piece.sent};
    }
    text_ = std::move(kept);
    pieces_ = std::move(rest);
    next_piece_ = 0;
  }

  ByteWriter text_;
  std::vector<Piece> pieces_;
  size_t next_piece_ = 0;
};

}  // namespace fastserve
