// Router: from a request's method and target to what it asks for.
//
// Only inference is routed here; everything else (health, metadata, metrics, what does not exist)
// is a control request, which the control plane answers.
//
// Threads: pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fastserve {

// How an inference over REST is spelled.
enum class InferFormat : uint8_t {
  kKserve,          // .../infer
  kGenerate,        // .../generate: a flat object of JSON in, one out
  kGenerateStream,  // .../generate_stream: any number of them out, as server-sent events
};

struct Route {
  bool is_infer = false;
  InferFormat format = InferFormat::kKserve;
  // Percent-decoded. Views of the target, or of the storage given to FindRoute.
  std::string_view model;
  std::string_view version;  // A number or a label; "" when the path names none.
};

// POST /v2/models/{model}[/versions/{version}]/{infer|generate|generate_stream}, with or without a
// query. `storage` is used
// only when a name was percent-encoded.
Route FindRoute(std::string_view method, std::string_view target, std::string* storage);

// The target up to the question mark, and what stands behind it.
std::string_view PathOf(std::string_view target);
std::string_view QueryOf(std::string_view target);

}  // namespace fastserve
