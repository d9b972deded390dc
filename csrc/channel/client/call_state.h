// CallState: what a channel knows of one request, from Send until its handle is gone and the
// server has said that it is over.
//
// Threads: see the two parts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "sync/signal.h"
#include "tensor/buffer.h"
#include "tensor/tensor.h"

namespace fastserve {

struct CallState {
  struct Input {
    std::string name;
    DataType type = DataType::kFp32;
    Shape shape;
    std::span<std::byte> bytes;  // The beginning of `block`.
    BufferRef block;
  };
  // Where in the segment the message of a response is.
  struct Arrived {
    uint64_t offset = 0;
    uint64_t bytes = 0;
  };

  // The handle's (ChannelCall), which leaves them alone while the server may read them.
  std::vector<Input> inputs;
  BufferRef message;
  size_t message_bytes = 0;

  // ClientChannel's, under its mutex.
  uint64_t number = 0;           // While it is under way.
  bool is_under_way = false;     // The server has not said that it is over.
  bool is_cancelled = false;     // The server was told.
  bool is_abandoned = false;     // The handle is gone.
  bool lacks_memory = false;     // For a response, which is lost.
  bool is_following = false;     // Somebody sleeps on `news`.
  bool is_watched = false;       // An event loop wants to know.
  bool is_ready = false;         // It is about to.
  uint64_t tag = 0;              // For it.
  std::vector<Arrived> arrived;  // Responses, of which `taken` were taken.
  size_t taken = 0;
  Status end;  // When it is over.
  Signal news;

  // A look at it would not be for nothing.
  bool has_news() const { return taken < arrived.size() || !is_under_way; }
};

}  // namespace fastserve
