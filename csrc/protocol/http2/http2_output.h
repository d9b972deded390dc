// Http2Output: what a connection sends next: frames in one run of bytes, with large payloads as
// references between them.
//
//   session.Send(&output);              // appends
//   io.Write(output.parts());           // good until the next Append or Clear
//   output.Clear();                     // owners are let go; the capacity stays
//
// Threads: none.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "protocol/byte_writer.h"
#include "protocol/output_part.h"

namespace fastserve {

class Http2Output {
 public:
  // Copies; for frame heads and small payloads.
  void Append(std::string_view bytes) { copied_.Append(bytes); }
  // Keeps a reference.
  void Append(std::string_view bytes, const BufferRef& owner) {
    TakeCopied();
    cuts_.push_back({copied_.size(), parts_.size()});
    parts_.push_back({bytes, owner});
    referenced_ += bytes.size();
  }

  bool empty() const { return copied_.size() == 0 && parts_.empty(); }
  size_t bytes() const { return copied_.size() + referenced_; }

  // In order.
  std::span<const OutputPart> parts() {
    TakeCopied();
    // The run of bytes may have moved while it grew: its views are made now.
    size_t from = 0;
    for (const Cut& cut : cuts_) {
      if (cut.is_copied) {
        parts_[cut.part].bytes = copied_.view().substr(from, cut.copied - from);
        from = cut.copied;
      }
    }
    return parts_;
  }

  void Clear() {
    copied_.Clear();
    if (copied_.capacity() > kKeptBytes) copied_ = ByteWriter();
    cuts_.clear();
    parts_.clear();
    referenced_ = 0;
  }

 private:
  static constexpr size_t kKeptBytes = size_t{1} << 20;

  // Where a part ends in the run of bytes.
  struct Cut {
    size_t copied;
    size_t part;
    bool is_copied = false;
  };

  // What was copied since the last part becomes one.
  void TakeCopied() {
    const size_t before = cuts_.empty() ? 0 : cuts_.back().copied;
    if (copied_.size() == before) return;
    cuts_.push_back({copied_.size(), parts_.size(), true});
    parts_.push_back({});
  }

  ByteWriter copied_;
  std::vector<Cut> cuts_;
  std::vector<OutputPart> parts_;
  size_t referenced_ = 0;
};

}  // namespace fastserve
