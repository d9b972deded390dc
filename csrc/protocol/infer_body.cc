#include "protocol/infer_body.h"

#include <ostream>

namespace fastserve {

std::ostream& operator<<(std::ostream& out, const TensorLabel& label) {
  if (label.name.empty()) return out << label.list << '[' << label.index << ']';
  return out << label.word << " '" << label.name << '\'';
}

void InferBody::Clear() {
  model_name = {};
  model_version = {};
  id = {};
  has_id = false;
  inputs.clear();
  outputs.clear();
  binary_output_default = false;
  timeout_us = 0;
  priority = 0;
  sequence = {};
  wants_final = false;
  parameters.clear();
}

}  // namespace fastserve
