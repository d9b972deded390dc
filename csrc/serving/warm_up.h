// Warm-up: what a model runs before it serves, so that the engine has allocated, the cost of a run
// is known, and a version that cannot run is found out while the one before it serves.
//
//   servable->WarmUpWith(sample);                  // what somebody says the model must be able to
//   do servable->WarmUp(WarmUpSizes::kPowersOfTwo);   // zeros, for which nobody blames a model
//
// Threads: plain data and pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "memory/slab_pool.h"
#include "serving/backend.h"
#include "tensor/data_type.h"
#include "tensor/shape.h"

namespace fastserve {

// The batch sizes at which zeros run.
enum class WarmUpSizes : uint8_t {
  kNone,
  kPowersOfTwo,  // 1, 2, 4... and the largest one, for about a second in all.
  kAll,          // Every one, however long that takes.
};

// One input of a sample.
struct WarmUpInput {
  enum class Content : uint8_t { kZeros, kRandom, kGiven };

  std::string name;
  DataType type = DataType::kFp32;
  // Of one row, if the model has a batch dimension; else the whole shape.
  Shape shape;
  Content content = Content::kZeros;
  // With kGiven: the elements of `shape`, those of BYTES with their lengths.
  std::string_view given;
};

// One request. Its rows are all alike.
struct WarmUpSample {
  std::vector<WarmUpInput> inputs;
  int64_t rows = 1;
  int64_t count = 1;  // How often it runs, on each instance.
};

// The batch sizes that `sizes` stands for, smallest first.
std::vector<int64_t> WarmUpRows(WarmUpSizes sizes, int64_t max_batch_size);

// The tensor of an input, with `rows` as its first dimension if `is_batched`.
//
// Errors: INVALID_ARGUMENT for bytes that are not the elements of the shape; RESOURCE_EXHAUSTED.
Result<BatchInput> MakeWarmUpInput(const WarmUpInput& input, bool is_batched, int64_t rows,
                                   SlabPool* pool);

}  // namespace fastserve
