// Model: what Python holds of an engine's loaded model.
#pragma once

#include <memory>

#include "serving/backend.h"

namespace fastserve::bind {

struct Model {
  std::shared_ptr<Backend> backend;
};

}  // namespace fastserve::bind
