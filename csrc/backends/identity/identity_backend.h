// The identity engine: each output is the input at its position, not a byte of it copied.
//
// The smallest engine there is: for tests, for measuring what everything else costs, and to show
// what an engine implements.
#pragma once

#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "serving/backend.h"

namespace fastserve {

struct IdentityOptions {
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  // How long a run pretends to compute; the thread sleeps meanwhile.
  int64_t delay_us = 0;
  // Responses of a run. Other than 1 makes a decoupled model.
  int repeat = 1;
};

// Errors: INVALID_ARGUMENT unless inputs and outputs agree in number and types, position by
// position, and the numbers are not negative.
Result<std::unique_ptr<Backend>> OpenIdentity(IdentityOptions options);

}  // namespace fastserve
