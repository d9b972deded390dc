// Servable: one loaded version of a model: its engine, its instances, their threads, its queue.
//
//   Result<std::shared_ptr<Servable>> servable = Servable::Create(std::move(backend), options);
//   (*servable)->WarmUp();
//   ...
//   Status status = servable->Bind(inputs, &request);     // names, types and shapes are checked
//   servable->Submit(std::move(request));                 // queued; nobody was woken yet
//   budget -= servable->RunHere(budget);                  // the end of the loop's iteration: run
//                                                         // what is cheap, wake for the rest
//
// Threads: any, WarmUp best before it is published. It is destroyed on the Reaper's thread,
// wherever its last ServableHandle goes.
//
// Forks: the instances' threads stay in the parent. In the child whatever is submitted to a
// servable that was made before ends at once with FAILED_PRECONDITION, RunHere, RunUntil and Wake
// do nothing, and its destructor leaves everything where it is. What waited or ran at the time of
// the fork is the parent's: there it ends, and in the child never.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "memory/slab_pool.h"
#include "serving/backend.h"
#include "serving/inference_request.h"
#include "serving/reaper.h"
#include "serving/servable_stats.h"
#include "serving/warm_up.h"

namespace fastserve {

class InstanceThread;
class Scheduler;

// A run that is likely (p90) to take at most this long is done by the thread that holds the
// requests: waking another one costs about as much.
inline constexpr Nanos kCallerRunsMax = 50 * kMicrosecond;

struct ServableOptions {
  std::string name;
  int64_t version = 1;
  // As served: shapes include the batch dimension, and narrow those of the engine. Outputs may be
  // fewer than the engine's. Empty: all, as the engine has them.
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  // The most rows of a batch, and of a request; 0: the model has no batch dimension.
  int64_t max_batch_size = 0;
  // Whether several requests may share a batch.
  bool join_requests = true;
  Nanos max_queue_delay = 0;
  std::vector<int64_t> preferred_batch_sizes;
  int instance_count = 1;
  size_t queue_depth = 1024;
  // False: every run happens on an instance's thread.
  bool caller_runs = true;
  // Memory for gathered inputs, and for outputs of engines that ask for it.
  SlabPool::Options memory;
};

// An input by its name, as a front end has it. The tensor's bytes fit its type and shape.
struct NamedInput {
  std::string_view name;
  Tensor tensor;
  BufferRef owner;
};

// An output as served, and its number in the engine's signature.
struct ServedOutput {
  TensorSpec spec;
  size_t index;
};

class Servable {
 public:
  // Makes the instances and their threads. Errors: RESOURCE_EXHAUSTED; INVALID_ARGUMENT when the
  // served tensors do not fit the engine's, or an option is out of range; whatever NewInstance
  // says.
  static Result<std::shared_ptr<Servable>> Create(std::shared_ptr<Backend> backend,
                                                  ServableOptions options);
  // The Reaper's. Stops the threads after the runs under way; what waits ends with UNAVAILABLE. (In
  // a child of fork() neither.)
  ~Servable();
  Servable(const Servable&) = delete;
  Servable& operator=(const Servable&) = delete;

  const std::string& name() const { return options_.name; }
  int64_t version() const { return options_.version; }
  std::string_view version_text() const { return version_text_; }
  const Signature& signature() const { return backend_->signature(); }
  const std::shared_ptr<Backend>& backend() const { return backend_; }
  // In the engine's order.
  std::span<const TensorSpec> inputs() const { return inputs_; }
  std::span<const ServedOutput> outputs() const { return outputs_; }
  bool has_batch_dimension() const { return options_.max_batch_size > 0; }
  int64_t max_batch_size() const { return options_.max_batch_size; }

  // Runs zeros, so that the engine has allocated and the cost of a run is known. A model that fails
  // on zeros is not to blame: failures are not reported.
  void WarmUp(WarmUpSizes sizes = WarmUpSizes::kPowersOfTwo);
  // Runs a sample on every instance, uncounted. Errors: as Bind; what the engine says, or what is
  // wrong with its outputs; UNAVAILABLE where an instance is busy.
  Status WarmUpWith(const WarmUpSample& sample);

  // Checks the inputs against what is served and writes inputs, rows, input_bytes and join_key of
  // `request`. The inputs' owners are moved from.
  //
  // Errors: INVALID_ARGUMENT naming the tensor, what was expected and what came: an unknown,
  // missing or repeated input, another datatype or shape, unequal batch dimensions, or more rows
  // than a batch may have.
  Status Bind(std::span<NamedInput> inputs, InferenceRequest* request) const;

  // The number of a served output in outputs(). Errors: INVALID_ARGUMENT naming those there are.
  Result<size_t> FindOutput(std::string_view name) const;

  // Queues a bound request. It comes back through its sink: at once with RESOURCE_EXHAUSTED when
  // the queue is full, and with UNAVAILABLE when it has a deadline that can most likely not be met.
  // Lock-free; wakes nobody: call RunHere or Wake when all that arrived together
  // is submitted.
  void Submit(RequestPtr request);

  // Runs what waits on this thread, as long as an instance is idle, the run is likely to be short
  // (kCallerRunsMax) and fits in what is left of `budget`; wakes an instance's thread for the rest.
  // Returns the time that the runs took.
  Nanos RunHere(Nanos budget);

  // For a caller that has nothing to do until its request has ended: runs what waits on this
  // thread, however long it takes, while an instance is idle and `done` is false; wakes an
  // instance's thread for what is left, and for a batch whose time has not come. If `done` is false
  // afterwards the request ends on another thread. Without `caller_runs` it only wakes. `done` is
  // read relaxed; it may be set by whichever thread ends the request.
  void RunUntil(const std::atomic<bool>& done);

  // Wakes an instance's thread if something waits.
  void Wake();

  // Ends what waits and is cancelled or late, also while every instance is busy; never waits for a
  // run. Returns when to sweep again: no later than the earliest deadline of those that still wait;
  // kNever if none has one. Nearly free while nothing that waits has a deadline and NoteCancelled
  // was not called. Costs about 50 ns for each that waits once one was late or cancelled.
  Nanos Sweep();

  // Ends all that waits with UNAVAILABLE, so that nobody waits for a version that is being taken
  // down; never waits for a run. Whoever is in the middle of submitting is served as usual.
  void EndWaiting();

  // Call after `cancelled` of a submitted request was set, so that the next Sweep looks for it. It
  // is ended without this too, but only when an instance is free.
  void NoteCancelled();

  // What a request that is submitted now would wait for its answer, from what was learned; 0 while
  // nothing is known.
  Nanos ExpectedWait() const;

  // 0..1: the share of the instances' time that was spent running, over about the last second.
  double busy_share() const;

  int instance_count() const { return options_.instance_count; }

  // Tells when it is gone; outlives it.
  const std::shared_ptr<Departure>& departure() const { return departure_; }

  // Gives the memory that batches are gathered in back to the system, as far as none uses it;
  // returns how many bytes.
  size_t TrimMemory() { return pool_->Trim(); }

  // Requests that wait, a moment ago.
  size_t queue_depth() const;
  ServableStats& stats() { return stats_; }
  const ServableStats& stats() const { return stats_; }

 private:
  friend class Reaper;

  Servable(std::shared_ptr<Backend> backend, ServableOptions options);
  void Abandon();
  Status MatchSignature();
  Status StartInstances();
  Status BindInput(NamedInput& input, size_t index, InferenceRequest* request) const;
  Status BindRows(const TensorSpec& spec, int64_t rows, InferenceRequest* request) const;
  void WarmUpSize(int64_t rows, bool all, Nanos end);

  const ServableOptions options_;
  const std::string version_text_;
  std::shared_ptr<Backend> backend_;
  std::vector<TensorSpec> inputs_;
  std::vector<ServedOutput> outputs_;
  ServableStats stats_;
  std::unique_ptr<SlabPool> pool_;
  std::unique_ptr<Scheduler> scheduler_;
  std::vector<std::unique_ptr<InstanceThread>> threads_;
  const std::shared_ptr<Departure> departure_ = std::make_shared<Departure>();
  Servable* next_dead_ = nullptr;  // The Reaper's.
};

// Keeps a version alive: whoever took one may finish with it, also when it was retired meanwhile.
using ServableHandle = std::shared_ptr<Servable>;

}  // namespace fastserve
