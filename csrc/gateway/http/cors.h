// CorsPolicy: which pages of browsers may read what this server answers (CORS, the Fetch standard).
//
// The fields are made once: an answer refers to them. What a preflight asks for beyond them (verbs,
// names of headers) is the control plane's to say, since OPTIONS is a control request.
//
// Threads: none; it does not change.
#pragma once

#include <array>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/http1_response.h"

namespace fastserve {

class CorsPolicy {
 public:
  // Origins as browsers write them ("https://example.org:8443"), or "*" for every one. None: no
  // answer says anything of it.
  explicit CorsPolicy(const std::vector<std::string>& origins);
  CorsPolicy(const CorsPolicy&) = delete;
  CorsPolicy& operator=(const CorsPolicy&) = delete;

  bool is_on() const { return is_on_; }
  // What the answer has to say to a request of this origin; "" for one that names none. Good for as
  // long as this lives.
  std::span<const HttpHeader> FieldsFor(std::string_view origin) const;

 private:
  // Allow-Origin, Expose-Headers and, where the answer depends on who asks, Vary.
  struct Allowed {
    std::string origin;
    std::array<HttpHeader, 3> fields;
  };

  bool is_on_ = false;
  bool allows_all_ = false;
  std::deque<Allowed> allowed_;  // Fields are views of their neighbours, which must not move.
};

}  // namespace fastserve
