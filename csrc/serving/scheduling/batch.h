// Batch: takes requests through the engine together and hands each its own rows of the answer.
//
//   stage    one request: the engine reads its memory (no copy); several: rows are gathered into
//            slabs of the model's pool
//   run      ModelInstance::Run
//   finish   each request gets views of its rows, which share the owner of the whole output
//
// The three phases are recorded for each run of the engine: the clock is read when the rows are
// gathered (a single request has none to gather), when the engine is done, and at the end.
//
// Invariants:
//   1. Run ends every request exactly once and leaves the batch empty.
//   2. Nothing is delivered before a whole response was checked: all outputs are there, have the
//      type of the signature, the bytes (BYTES: the elements) that their shape calls for and, in a
//      batching model, one row for each row that went in.
//   3. When requests that share a batch fail, each runs again alone, so that only the one to blame
//      fails. (Not after a response was delivered: nobody may get it twice.)
//   4. No allocation of its own after construction, except for the text of errors. An engine or a
//      sink that runs out of memory (std::bad_alloc) fails the requests of the run, and only them,
//      with RESOURCE_EXHAUSTED.
//
// There is one Batch for each instance.
// Threads: whoever holds the instance.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "device/host_copy.h"
#include "memory/slab_pool.h"
#include "serving/backend.h"
#include "serving/inference_request.h"
#include "serving/servable_stats.h"

namespace fastserve {

class Batch final : private OutputSink {
 public:
  // What is pointed at must outlive the batch.
  struct Options {
    const Signature* signature = nullptr;
    bool has_batch_dimension = false;
    SlabPool* pool = nullptr;
    ServableStats* stats = nullptr;
    // Whether no other batch has the same stats: then what a run counts is counted without locked
    // instructions, of which it would have a dozen.
    bool is_alone = false;
    // Room for this many requests is made once. More may be added, where memory allows.
    size_t requests_max = 64;
    Nanos (*now)() = &NowNanos;
  };

  explicit Batch(const Options& options);

  void Add(RequestPtr request);
  int64_t rows() const { return rows_; }
  size_t input_bytes() const { return input_bytes_; }

  struct Outcome {
    Nanos took = 0;         // Gathering and the engine, of all runs.
    Nanos finished = 0;     // The time when every request has ended.
    uint64_t runs = 0;      // One, unless a batch failed and its requests ran apart.
    bool together = false;  // The batch as it was added succeeded: `took` is what it costs.
  };
  // Runs what was added; `started` is the time now.
  Outcome Run(ModelInstance& instance, Nanos started);

 private:
  // OutputSink.
  void Add(size_t index, const Tensor& tensor, BufferRef owner) override;
  void EndResponse() override;
  BufferRef Allocate(size_t bytes) override { return options_.pool->Acquire(bytes); }
  OutputPlace PlaceFor(size_t index) override {
    if (current_.size() != 1 || current_.front()->places.empty()) return {};
    return current_.front()->places[index];
  }

  // Runs `requests` as one batch and delivers its responses; ends none of them.
  Status Attempt(ModelInstance& instance, std::span<RequestPtr> requests, Nanos started);
  Status RunEngine(ModelInstance& instance, std::span<const BatchInput> inputs, Nanos started);
  Status CallEngine(ModelInstance& instance, std::span<const BatchInput> inputs);
  Nanos Finish();
  Status Gather();
  Status GatherInput(size_t index);
  Status CheckOutput(size_t index);
  Status FindBytesRows(size_t index);
  void Deliver();
  void DeliverRows();
  void ForgetOutputs();
  void End(RequestPtr request, Status status);

  const Options options_;
  std::vector<RequestPtr> requests_;
  int64_t rows_ = 0;
  size_t input_bytes_ = 0;

  // Of the attempt under way.
  std::span<RequestPtr> current_;
  int64_t current_rows_ = 0;
  Nanos staged_ns_ = 0;
  Nanos computed_ns_ = 0;  // 0 until the engine has run.
  uint64_t runs_ = 0;      // Of the batch so far.
  size_t responses_ = 0;
  Status error_;  // What was wrong with the engine's outputs; later ones are ignored.
  std::vector<ResponseOutput> outputs_;
  std::vector<uint8_t> added_;

  // Kept between runs for their capacity alone; sized in the constructor.
  std::vector<BatchInput> joined_;
  std::vector<RowSource> sources_;
  std::vector<ResponseOutput> rows_of_one_;
  // For each output, where the rows handed out so far end.
  std::vector<size_t> offsets_;
  // For each BYTES output, where each request's rows end.
  std::vector<std::vector<size_t>> bytes_ends_;
};

}  // namespace fastserve
