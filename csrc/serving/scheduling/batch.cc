#include "serving/scheduling/batch.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <optional>
#include <utility>

#include "base/check.h"

namespace fastserve {
namespace {

// Where the first `elements` length-prefixed elements of `bytes` end; nothing when they go beyond.
// Checked although the model's inputs were: these are an engine's, or alias memory that a client
// may write to.
std::optional<size_t> ElementsEnd(std::span<const std::byte> bytes, size_t elements) {
  size_t offset = 0;
  for (size_t i = 0; i < elements; ++i) {
    uint32_t length = 0;
    if (bytes.size() - offset < sizeof length) return std::nullopt;
    std::memcpy(&length, bytes.data() + offset, sizeof length);
    offset += sizeof length;
    if (bytes.size() - offset < length) return std::nullopt;
    offset += length;
  }
  return offset;
}

size_t ElementsOf(const Shape& shape) { return static_cast<size_t>(shape.Elements().value_or(0)); }

}  // namespace

Batch::Batch(const Options& options)
    : options_(options),
      outputs_(options.signature->outputs.size()),
      added_(outputs_.size()),
      joined_(options.signature->inputs.size()),
      rows_of_one_(outputs_.size()),
      offsets_(outputs_.size()),
      bytes_ends_(outputs_.size()) {
  requests_.reserve(options.requests_max);
  sources_.reserve(options.requests_max);
  for (size_t i = 0; i < bytes_ends_.size(); ++i) {
    if (options.signature->outputs[i].type == DataType::kBytes) {
      bytes_ends_[i].reserve(options.requests_max);
    }
  }
}

void Batch::Add(RequestPtr request) {
  rows_ += request->rows;
  input_bytes_ += request->input_bytes;
  requests_.push_back(std::move(request));
}

Batch::Outcome Batch::Run(ModelInstance& instance, Nanos started) {
  for (const RequestPtr& request : requests_) {
    request->started_ns = started;
    options_.stats->queue.Record(started - request->submitted_ns, options_.is_alone);
  }
  runs_ = 0;
  Status status = Attempt(instance, requests_, started);
  const bool together = status.ok();
  const bool apart = !together && requests_.size() > 1 && responses_ == 0;
  Nanos finished = apart ? Finish() : 0;
  for (RequestPtr& request : requests_) {
    if (apart) status = Attempt(instance, std::span(&request, 1), finished);
    End(std::move(request), status);
    if (apart) finished = Finish();
  }
  if (!apart) finished = Finish();
  requests_.clear();
  rows_ = 0;
  input_bytes_ = 0;
  return {
      .took = computed_ns_ - started, .finished = finished, .runs = runs_, .together = together};
}

// The time now, at which the run under way is over.
Nanos Batch::Finish() {
  const Nanos now = options_.now();
  if (computed_ns_ != 0) options_.stats->finish.Record(now - computed_ns_, options_.is_alone);
  return now;
}

Status Batch::Attempt(ModelInstance& instance, std::span<RequestPtr> requests, Nanos started) {
  current_ = requests;
  current_rows_ = 0;
  for (const RequestPtr& request : requests) current_rows_ += request->rows;
  staged_ns_ = started;
  computed_ns_ = 0;
  responses_ = 0;
  error_ = {};
  if (requests.size() == 1) return RunEngine(instance, requests.front()->inputs, started);
  Status status = Gather();
  if (status.ok()) {
    staged_ns_ = options_.now();
    status = RunEngine(instance, joined_, started);
  }
  for (BatchInput& input : joined_) input.owner = {};
  return status;
}

Status Batch::RunEngine(ModelInstance& instance, std::span<const BatchInput> inputs,
                        Nanos started) {
  Status status = CallEngine(instance, inputs);
  ForgetOutputs();
  if (computed_ns_ == 0) computed_ns_ = options_.now();
  ++runs_;
  ServableStats& stats = *options_.stats;
  const bool is_alone = options_.is_alone;
  stats.executions.Add(1, is_alone);
  const auto rows = static_cast<size_t>(current_rows_);
  stats.batch_rows[std::min(rows, ServableStats::kRowsMax)].Add(1, is_alone);
  stats.stage.Record(staged_ns_ - started, is_alone);
  stats.run.Record(computed_ns_ - staged_ns_, is_alone);
  return status;
}

// What runs out of memory in here, be it the engine or a sink, fails like any other run.
Status Batch::CallEngine(ModelInstance& instance, std::span<const BatchInput> inputs) {
  try {
    FS_RETURN_IF_ERROR(instance.Run(inputs, current_rows_, *this));
  } catch (const std::bad_alloc&) {
    return Status::OutOfMemory();
  }
  for (size_t i = 0; i < added_.size() && error_.ok(); ++i) {
    if (added_[i] == 0) continue;
    error_ = Internal("output '", options_.signature->outputs[i].name,
                      "' was computed after the last response of the model");
  }
  return std::move(error_);
}

// ------------------------------------------------------------------------------------------------
// In: the rows of many requests become one tensor for each input.

Status Batch::Gather() {
  for (size_t i = 0; i < joined_.size(); ++i) {
    FS_RETURN_IF_ERROR(GatherInput(i));
  }
  return {};
}

Status Batch::GatherInput(size_t index) {
  const BatchInput& first = current_.front()->inputs[index];
  BatchInput& joined = joined_[index];
  joined.present = first.present;
  if (!first.present) return {};
  // Elements of any length are gathered as bytes: one after the other they are a BYTES tensor.
  const bool is_bytes = first.tensor.type == DataType::kBytes;
  const size_t row_bytes =
      is_bytes ? 1 : ElementsOf(first.tensor.shape.Row()) * ElementBytes(first.tensor.type);
  sources_.clear();
  size_t bytes = 0;
  for (const RequestPtr& request : current_) {
    const Tensor& tensor = request->inputs[index].tensor;
    bytes += tensor.bytes.size();
    sources_.push_back(
        {tensor.bytes.data(), is_bytes ? tensor.bytes.size() : static_cast<size_t>(tensor.rows())});
  }
  joined.owner = options_.pool->Acquire(bytes);
  if (!joined.owner) {
    return ResourceExhausted("no memory for a batch: input '",
                             options_.signature->inputs[index].name, "' of ", current_rows_,
                             " rows has ", bytes, " bytes");
  }
  joined.tensor.type = first.tensor.type;
  joined.tensor.shape = first.tensor.shape;
  joined.tensor.shape.Set(0, current_rows_);
  const std::span<std::byte> out = joined.owner->bytes().first(bytes);
  joined.tensor.bytes = out;
  return GatherRows(sources_, row_bytes, out);
}

// ------------------------------------------------------------------------------------------------
// Out: checked as a whole, then handed out in rows.

void Batch::Add(size_t index, const Tensor& tensor, BufferRef owner) {
  FS_CHECK_OP(index, <, outputs_.size());
  outputs_[index] = {tensor, std::move(owner)};
  added_[index] = 1;
}

void Batch::EndResponse() {
  if (error_.ok()) computed_ns_ = options_.now();
  for (size_t i = 0; i < outputs_.size() && error_.ok(); ++i) error_ = CheckOutput(i);
  if (error_.ok()) {
    ++responses_;
    Deliver();
  }
  ForgetOutputs();
}

Status Batch::CheckOutput(size_t index) {
  const TensorSpec& spec = options_.signature->outputs[index];
  const Tensor& tensor = outputs_[index].tensor;
  if (added_[index] == 0) return Internal("the model did not compute output '", spec.name, "'");
  if (tensor.type != spec.type) {
    return Internal("output '", spec.name, "' came as ", DataTypeName(tensor.type), ", expected ",
                    DataTypeName(spec.type));
  }
  if (options_.has_batch_dimension && tensor.rows() != current_rows_) {
    return Internal("output '", spec.name, "' came with shape ", tensor.shape.ToString(),
                    " for a batch of ", current_rows_,
                    " rows, expected one row for each: the model's first dimension is no batch");
  }
  if (tensor.type == DataType::kBytes && current_.size() > 1) return FindBytesRows(index);
  // A wrong size is the engine's fault, not the client's.
  const Status valid = ValidateTensor(spec.name, tensor);
  return valid.ok() ? Status() : Internal("the model's output ", valid.message());
}

Status Batch::FindBytesRows(size_t index) {
  const Tensor& tensor = outputs_[index].tensor;
  const size_t row_elements = ElementsOf(tensor.shape.Row());
  std::vector<size_t>& ends = bytes_ends_[index];
  ends.clear();
  size_t offset = 0;
  for (const RequestPtr& request : current_) {
    const std::optional<size_t> taken = ElementsEnd(
        tensor.bytes.subspan(offset), static_cast<size_t>(request->rows) * row_elements);
    if (!taken) break;
    offset += *taken;
    ends.push_back(offset);
  }
  if (ends.size() == current_.size() && offset == tensor.bytes.size()) return {};
  return Internal("output '", options_.signature->outputs[index].name, "': its ",
                  tensor.bytes.size(), " bytes are not the ", tensor.shape.ToString(),
                  " elements that its shape calls for");
}

void Batch::Deliver() {
  for (const RequestPtr& request : current_) {
    request->staged_ns = staged_ns_;
    request->computed_ns = computed_ns_;
    request->batch_rows = current_rows_;
  }
  if (current_.size() > 1) return DeliverRows();
  InferenceRequest& request = *current_.front();
  request.sink->OnResponse(request, outputs_);
}

void Batch::DeliverRows() {
  std::ranges::fill(offsets_, 0);
  for (size_t r = 0; r < current_.size(); ++r) {
    InferenceRequest& request = *current_[r];
    for (size_t i = 0; i < outputs_.size(); ++i) {
      const Tensor& whole = outputs_[i].tensor;
      const size_t row_bytes =
          current_rows_ == 0 ? 0 : whole.bytes.size() / static_cast<size_t>(current_rows_);
      const size_t end = whole.type == DataType::kBytes
                             ? bytes_ends_[i][r]
                             : offsets_[i] + row_bytes * static_cast<size_t>(request.rows);
      Tensor& part = rows_of_one_[i].tensor;
      part.type = whole.type;
      part.shape = whole.shape;
      part.shape.Set(0, request.rows);
      part.bytes = whole.bytes.subspan(offsets_[i], end - offsets_[i]);
      rows_of_one_[i].owner = outputs_[i].owner;
      offsets_[i] = end;
    }
    request.sink->OnResponse(request, rows_of_one_);
  }
}

void Batch::ForgetOutputs() {
  for (ResponseOutput& output : outputs_) output.owner = {};
  for (ResponseOutput& output : rows_of_one_) output.owner = {};
  std::ranges::fill(added_, 0);
}

void Batch::End(RequestPtr request, Status status) {
  ServableStats& stats = *options_.stats;
  if (status.ok()) {
    stats.success.Add(1, options_.is_alone);
    stats.rows.Add(static_cast<uint64_t>(request->rows), options_.is_alone);
  } else {
    stats.CountFailure(FailureReason::kBackend);
    request->staged_ns = staged_ns_;
    request->computed_ns = computed_ns_;
    request->batch_rows = current_rows_;
  }
  ResponseSink* sink = request->sink;
  sink->OnEnd(std::move(request), std::move(status));
}

}  // namespace fastserve
