#include "protocol/infer_body.h"

namespace fastserve {

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
