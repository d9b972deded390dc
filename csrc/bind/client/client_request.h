// ClientRequest: an inference request as Python gave it, to be sent as often as it takes.
//
// Holds the arrays (their memory is not copied) and the texts that the request is a view of.
//
// Threads: with the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/infer_body.h"
#include "tensor/buffer.h"

namespace fastserve::bind {

class ClientRequest {
 public:
  ClientRequest(std::string_view model, std::string_view version, std::string_view id);
  ~ClientRequest();
  ClientRequest(const ClientRequest&) = delete;
  ClientRequest& operator=(const ClientRequest&) = delete;

  // Of each: CoreError (INVALID_ARGUMENT) naming what is wrong, or numpy's own exception.
  void AddInput(std::string_view name, const pybind11::object& value);
  void AddOutput(std::string_view name, uint32_t classification);
  void AddParameter(std::string_view name, const pybind11::object& value);
  void SetSequence(const pybind11::object& id, bool start, bool end);

  InferBody body;
  std::vector<BufferRef> owners;  // Of the inputs.

 private:
  std::string_view Keep(std::string_view text) { return texts_.emplace_back(text); }

  std::deque<std::string> texts_;
};

}  // namespace fastserve::bind
