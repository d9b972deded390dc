#include "serving/warm_up.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <random>
#include <utility>

#include "base/clock.h"
#include "serving/random_values.h"
#include "serving/scheduling/scheduler.h"
#include "serving/servable.h"

namespace fastserve {
namespace {

// The bytes of one row.
std::string RowOf(const WarmUpInput& input, size_t elements) {
  std::string row;
  if (input.content == WarmUpInput::Content::kRandom) {
    // The same at every load, and for every input whatever stands beside it.
    std::mt19937_64 random(elements);
    for (size_t i = 0; i < elements; ++i) AppendRandom(input.type, random, &row);
    return row;
  }
  // A zero of BYTES is an empty element: a length of four zero bytes.
  const bool is_bytes = input.type == DataType::kBytes;
  row.assign(elements * (is_bytes ? sizeof(uint32_t) : ElementBytes(input.type)), '\0');
  return row;
}

// `shape` behind a dimension of `rows`; nothing when there are too many dimensions.
std::optional<Shape> WithRows(const Shape& shape, int64_t rows) {
  Shape batch{rows};
  for (const int64_t dim : shape.dims()) {
    if (!batch.Append(dim)) return std::nullopt;
  }
  return batch;
}

}  // namespace

std::vector<int64_t> WarmUpRows(WarmUpSizes sizes, int64_t max_batch_size) {
  std::vector<int64_t> list;
  if (sizes == WarmUpSizes::kNone) return list;
  list.push_back(1);
  const bool all = sizes == WarmUpSizes::kAll;
  for (int64_t rows = 2; rows < max_batch_size; rows = all ? rows + 1 : rows * 2) {
    list.push_back(rows);
  }
  if (max_batch_size > 1) list.push_back(max_batch_size);
  return list;
}

Result<BatchInput> MakeWarmUpInput(const WarmUpInput& input, bool is_batched, int64_t rows,
                                   SlabPool* pool) {
  const std::optional<int64_t> elements = input.shape.Elements();
  const std::optional<Shape> shape = is_batched ? WithRows(input.shape, rows) : input.shape;
  if (!elements || !shape || !shape->Elements()) {
    return InvalidArgument("input '", input.name, "' has shape ", input.shape.ToString(),
                           ", which no tensor can have");
  }
  std::string made;
  std::string_view row = input.given;
  if (input.content == WarmUpInput::Content::kGiven) {
    const Tensor one{input.type, input.shape, std::as_bytes(std::span(row))};
    FS_RETURN_IF_ERROR(ValidateTensor(input.name, one));
  } else {
    made = RowOf(input, static_cast<size_t>(*elements));
    row = made;
  }
  const size_t copies = is_batched ? static_cast<size_t>(rows) : 1;
  BatchInput filled;
  filled.owner = pool->Acquire(row.size() * copies);
  if (!filled.owner) {
    return ResourceExhausted("no memory for input '", input.name, "': ", copies, " rows of ",
                             row.size(), " bytes");
  }
  filled.tensor = {input.type, *shape, filled.owner->bytes().first(row.size() * copies)};
  for (size_t i = 0; i < copies && !row.empty(); ++i) {
    std::memcpy(filled.owner->data() + i * row.size(), row.data(), row.size());
  }
  return filled;
}

// ------------------------------------------------------------------------------------------------
// Servable's part.

Status Servable::WarmUpWith(const WarmUpSample& sample) {
  std::vector<NamedInput> named;
  for (const WarmUpInput& input : sample.inputs) {
    Result<BatchInput> made =
        MakeWarmUpInput(input, has_batch_dimension(), sample.rows, pool_.get());
    if (!made.ok()) return std::move(made).status();
    named.push_back({input.name, made->tensor, std::move(made->owner)});
  }
  InferenceRequest request;
  FS_RETURN_IF_ERROR(Bind(named, &request));
  for (size_t instance = 0; instance < scheduler_->instance_count(); ++instance) {
    for (int64_t run = 0; run < sample.count; ++run) {
      // As with zeros, the first run of an instance is not what others will cost.
      FS_RETURN_IF_ERROR(
          scheduler_->Rehearse(instance, request.inputs, request.rows, /*learn=*/run > 0));
    }
  }
  return {};
}

void Servable::WarmUp(WarmUpSizes sizes) {
  constexpr Nanos kWarmUpMax = kSecond;
  const std::vector<int64_t> list = WarmUpRows(sizes, options_.max_batch_size);
  const bool all = sizes == WarmUpSizes::kAll;
  const Nanos end = NowNanos() + kWarmUpMax;
  for (size_t i = 0; i < list.size(); ++i) {
    // Each size has its share of what is left, so that the large ones have theirs.
    const Nanos now = NowNanos();
    if (now >= end && !all) return;
    const Nanos left = std::max(end - now, Nanos{0});
    WarmUpSize(list[i], all, now + left / static_cast<Nanos>(list.size() - i));
  }
}

void Servable::WarmUpSize(int64_t rows, bool all, Nanos end) {
  // The first run of a size allocates and is not learned. Of eleven the 90th percentile forgives
  // one that was interrupted.
  constexpr int kLearned = 11;
  // Whoever asks for all sizes wants each one known, however late it is.
  const int runs_min = all ? 2 : 1;
  std::vector<BatchInput> inputs;
  for (const TensorSpec& spec : inputs_) {
    WarmUpInput zeros;
    zeros.name = spec.name;
    zeros.type = spec.type;
    zeros.shape = has_batch_dimension() ? spec.shape.Row() : spec.shape;
    for (size_t axis = 0; axis < zeros.shape.rank(); ++axis) {
      if (zeros.shape[axis] < 0) zeros.shape.Set(axis, 1);
    }
    Result<BatchInput> made = MakeWarmUpInput(zeros, has_batch_dimension(), rows, pool_.get());
    if (!made.ok()) return;
    inputs.push_back(*std::move(made));
  }
  for (size_t instance = 0; instance < scheduler_->instance_count(); ++instance) {
    if (instance > 0 && !all && NowNanos() >= end) return;
    for (int run = 0; run <= kLearned; ++run) {
      if (!scheduler_->Rehearse(instance, inputs, rows, run > 0).ok()) return;
      if (run + 1 >= runs_min && NowNanos() >= end) break;
    }
  }
}

}  // namespace fastserve
