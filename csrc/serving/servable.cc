#include "serving/servable.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "serving/scheduling/instance_thread.h"
#include "serving/scheduling/scheduler.h"

namespace fastserve {
namespace {

constexpr int64_t kBatchRowsMax = 1 << 20;
// Of a request, before its first input was seen; none at all is a length like any other.
constexpr int64_t kUnknownRows = -1;
constexpr size_t kQueueDepthMax = 1 << 20;
constexpr int kInstancesMax = 1024;
constexpr Nanos kQueueDelayMax = 3600 * kSecond;
constexpr size_t kPreferredSizesMax = 1024;

Status CheckOptions(const ServableOptions& options) {
  const auto within = [&options](const char* what, auto value, auto least, auto most) -> Status {
    if (value >= least && value <= most) return {};
    return InvalidArgument("model '", options.name, "': ", what, " is ", value, ", expected ",
                           least, " to ", most);
  };
  FS_RETURN_IF_ERROR(within("version", options.version, int64_t{0}, INT64_MAX));
  FS_RETURN_IF_ERROR(within("max_batch_size", options.max_batch_size, int64_t{0}, kBatchRowsMax));
  FS_RETURN_IF_ERROR(within("instance count", options.instance_count, 1, kInstancesMax));
  FS_RETURN_IF_ERROR(within("queue depth", options.queue_depth, size_t{1}, kQueueDepthMax));
  FS_RETURN_IF_ERROR(
      within("queue delay in ns", options.max_queue_delay, Nanos{0}, kQueueDelayMax));
  FS_RETURN_IF_ERROR(within("number of preferred batch sizes", options.preferred_batch_sizes.size(),
                            size_t{0}, kPreferredSizesMax));
  for (const int64_t rows : options.preferred_batch_sizes) {
    FS_RETURN_IF_ERROR(within("preferred batch size", rows, int64_t{1}, options.max_batch_size));
  }
  return {};
}

std::string NamesOf(std::span<const TensorSpec> specs) {
  std::string names;
  for (const TensorSpec& spec : specs) names += (names.empty() ? "'" : ", '") + spec.name + "'";
  return names.empty() ? "none" : names;
}

size_t IndexOf(std::span<const TensorSpec> specs, std::string_view name) {
  size_t index = 0;
  while (index < specs.size() && specs[index].name != name) ++index;
  return index;
}

// What is served must be something that the engine takes (or may give).
Status CheckNarrows(const char* kind, const TensorSpec& engine, const TensorSpec& served) {
  if (served.type != engine.type) {
    return InvalidArgument(kind, " '", served.name, "' is configured as ",
                           DataTypeName(served.type), ", but the model has ",
                           DataTypeName(engine.type));
  }
  if (!served.shape.Matches(engine.shape)) {
    return InvalidArgument(kind, " '", served.name, "' is configured with shape ",
                           served.shape.ToString(), ", but the model has ",
                           engine.shape.ToString());
  }
  return {};
}

// Writes to `matched` what is served of each tensor of the engine, and marks it in `is_served`.
Status Match(const char* kind, std::span<const TensorSpec> engine,
             std::span<const TensorSpec> served, std::vector<TensorSpec>* matched,
             std::vector<bool>* is_served) {
  matched->assign(engine.begin(), engine.end());
  is_served->assign(engine.size(), served.empty());
  for (const TensorSpec& spec : served) {
    const size_t index = IndexOf(engine, spec.name);
    if (index == engine.size()) {
      return InvalidArgument(kind, " '", spec.name, "' is configured, but the model has ",
                             NamesOf(engine));
    }
    if ((*is_served)[index]) {
      return InvalidArgument(kind, " '", spec.name, "' is configured twice");
    }
    FS_RETURN_IF_ERROR(CheckNarrows(kind, engine[index], spec));
    (*is_served)[index] = true;
    TensorSpec& target = (*matched)[index];
    target.shape = spec.shape;
    target.optional = target.optional || spec.optional;
    target.labels = spec.labels;
    if (!spec.dim_names.empty()) target.dim_names = spec.dim_names;
  }
  return {};
}

Status CheckBatchDimension(std::span<const TensorSpec> inputs, int64_t max_batch_size) {
  if (max_batch_size == 0) return {};
  if (inputs.empty()) {
    return InvalidArgument("max_batch_size is ", max_batch_size,
                           ", but the model has no input, so no rows: expected 0");
  }
  for (const TensorSpec& spec : inputs) {
    if (spec.shape.rank() > 0 && spec.shape[0] == -1) continue;
    return InvalidArgument("max_batch_size is ", max_batch_size, ", but input '", spec.name,
                           "' of shape ", spec.shape.ToString(),
                           " has no first dimension of any length: expected max_batch_size 0");
  }
  return {};
}

// A hash of what must be equal for two requests to share a batch.
class JoinKey {
 public:
  void Add(uint64_t value) {
    hash_ = (hash_ ^ value) * 0x9e3779b97f4a7c15;
    hash_ ^= hash_ >> 32;
  }
  void AddRow(const Tensor& tensor) {
    Add(static_cast<uint64_t>(tensor.type) << 8 | tensor.shape.rank());
    for (size_t axis = 1; axis < tensor.shape.rank(); ++axis) {
      Add(static_cast<uint64_t>(tensor.shape[axis]));
    }
  }
  uint64_t value() const { return hash_; }

 private:
  uint64_t hash_ = 0;
};

// What it owned lives on, and nobody owns it.
template <typename Owner>
void Leave(Owner& owner) {
  [[maybe_unused]] const auto* const left = owner.release();
}

}  // namespace

Servable::Servable(std::shared_ptr<Backend> backend, ServableOptions options)
    : options_(std::move(options)),
      version_text_(std::to_string(options_.version)),
      backend_(std::move(backend)),
      pool_(SlabPool::Create(options_.memory)) {}

Result<std::shared_ptr<Servable>> Servable::Create(std::shared_ptr<Backend> backend,
                                                   ServableOptions options) {
  FS_RETURN_IF_ERROR(CheckOptions(options));
  std::ranges::sort(options.preferred_batch_sizes);
  const Result<Reaper*> reaper = Reaper::OfProcess();
  if (!reaper.ok()) return reaper.status();
  const std::shared_ptr<Servable> servable(
      new Servable(std::move(backend), std::move(options)),
      [reaper = *reaper](Servable* last) { reaper->Take(last); });
  FS_RETURN_IF_ERROR(servable->MatchSignature());
  FS_RETURN_IF_ERROR(servable->StartInstances());
  return servable;
}

Servable::~Servable() {
  if (scheduler_ != nullptr && scheduler_->was_forked()) {
    Abandon();
    return;
  }
  if (scheduler_ != nullptr) scheduler_->Stop();
  threads_.clear();
}

// The engine's own threads, and its locks, are as little there as ours: nothing is destroyed, so
// that nothing waits for them.
void Servable::Abandon() {
  for (auto& thread : threads_) Leave(thread);
  Leave(scheduler_);
  Leave(pool_);
  (void)new std::shared_ptr<Backend>(std::move(backend_));
}

Status Servable::MatchSignature() {
  const Signature& engine = backend_->signature();
  std::vector<bool> is_served;
  FS_RETURN_IF_ERROR(Match("input", engine.inputs, options_.inputs, &inputs_, &is_served));
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (is_served[i] || inputs_[i].optional) continue;
    return InvalidArgument("input '", inputs_[i].name, "' is needed by the model, but only ",
                           NamesOf(options_.inputs), " are configured");
  }
  FS_RETURN_IF_ERROR(CheckBatchDimension(inputs_, options_.max_batch_size));
  std::vector<TensorSpec> outputs;
  FS_RETURN_IF_ERROR(Match("output", engine.outputs, options_.outputs, &outputs, &is_served));
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (is_served[i]) outputs_.push_back({std::move(outputs[i]), i});
  }
  return {};
}

Status Servable::StartInstances() {
  std::vector<std::unique_ptr<ModelInstance>> instances;
  for (int i = 0; i < options_.instance_count; ++i) {
    Result<std::unique_ptr<ModelInstance>> instance = backend_->NewInstance();
    if (!instance.ok()) return std::move(instance).status();
    instances.push_back(*std::move(instance));
  }
  Scheduler::Options options;
  options.model = StrCat("model '", options_.name, "'");
  options.batching = {.batch_rows_max = options_.max_batch_size,
                      .join_requests = options_.join_requests,
                      .queue_delay_max = options_.max_queue_delay,
                      .preferred_rows = options_.preferred_batch_sizes};
  options.queue_depth = options_.queue_depth;
  options.caller_runs_max = options_.caller_runs ? kCallerRunsMax : 0;
  // Several instances are there to use several cores.
  const bool stays_near = !options_.caller_runs && options_.instance_count == 1;
  options.near_runs_max = stays_near ? kCallerRunsMax : 0;
  options.batch = {.signature = &backend_->signature(),
                   .has_batch_dimension = has_batch_dimension(),
                   .pool = pool_.get(),
                   .stats = &stats_};
  scheduler_ = std::make_unique<Scheduler>(std::move(options), std::move(instances));
  for (int i = 0; i < options_.instance_count; ++i) {
    Result<std::unique_ptr<InstanceThread>> thread =
        InstanceThread::Start(scheduler_.get(), options_.name);
    if (!thread.ok()) return std::move(thread).status();
    threads_.push_back(*std::move(thread));
  }
  return {};
}

// ------------------------------------------------------------------------------------------------
// Binding. What fails may take its time; what succeeds allocates nothing.

Status Servable::Bind(std::span<NamedInput> inputs, InferenceRequest* request) const {
  request->inputs.resize(inputs_.size());
  for (BatchInput& bound : request->inputs) bound.present = false;
  request->rows = has_batch_dimension() ? kUnknownRows : 1;
  request->input_bytes = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    // Most clients name the inputs in the model's order.
    const bool in_order = i < inputs_.size() && inputs_[i].name == inputs[i].name;
    FS_RETURN_IF_ERROR(
        BindInput(inputs[i], in_order ? i : IndexOf(inputs_, inputs[i].name), request));
  }
  JoinKey key;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const BatchInput& bound = request->inputs[i];
    if (bound.present) {
      key.AddRow(bound.tensor);
    } else if (inputs_[i].optional) {
      key.Add(UINT64_MAX);
    } else {
      return InvalidArgument("input '", inputs_[i].name, "' is missing, expected ",
                             NamesOf(inputs_));
    }
  }
  request->join_key = key.value();
  if (request->rows != kUnknownRows) return {};
  return InvalidArgument("the request has no input, and so no rows; expected ", NamesOf(inputs_));
}

Status Servable::BindInput(NamedInput& input, size_t index, InferenceRequest* request) const {
  if (index == inputs_.size()) {
    return InvalidArgument("unknown input '", input.name, "', expected ", NamesOf(inputs_));
  }
  const TensorSpec& spec = inputs_[index];
  const Tensor& tensor = input.tensor;
  BatchInput& bound = request->inputs[index];
  if (bound.present) return InvalidArgument("input '", spec.name, "' is given twice");
  if (tensor.type != spec.type) {
    return InvalidArgument("input '", spec.name, "' has datatype ", DataTypeName(tensor.type),
                           ", expected ", DataTypeName(spec.type));
  }
  if (!tensor.shape.Matches(spec.shape)) {
    return InvalidArgument("input '", spec.name, "' has shape ", tensor.shape.ToString(),
                           ", expected ", spec.shape.ToString());
  }
  if (has_batch_dimension()) FS_RETURN_IF_ERROR(BindRows(spec, tensor.rows(), request));
  bound.tensor = tensor;
  bound.owner = std::move(input.owner);
  bound.present = true;
  request->input_bytes += tensor.bytes.size();
  return {};
}

Status Servable::BindRows(const TensorSpec& spec, int64_t rows, InferenceRequest* request) const {
  if (rows > options_.max_batch_size) {
    return InvalidArgument("input '", spec.name, "' has ", rows, " rows, expected at most ",
                           options_.max_batch_size);
  }
  if (request->rows != kUnknownRows && request->rows != rows) {
    return InvalidArgument("input '", spec.name, "' has ", rows, " rows, expected ", request->rows,
                           " as in the inputs before it");
  }
  request->rows = rows;
  return {};
}

Result<size_t> Servable::FindOutput(std::string_view name) const {
  for (size_t i = 0; i < outputs_.size(); ++i) {
    if (outputs_[i].spec.name == name) return i;
  }
  std::string names;
  for (const ServedOutput& output : outputs_) {
    names += (names.empty() ? "'" : ", '") + output.spec.name + "'";
  }
  return InvalidArgument("unknown output '", name, "', expected ", names);
}

// ------------------------------------------------------------------------------------------------

void Servable::Submit(RequestPtr request) { scheduler_->Submit(std::move(request)); }

Nanos Servable::RunHere(Nanos budget) { return scheduler_->RunHere(budget); }

void Servable::RunUntil(const std::atomic<bool>& done) { scheduler_->RunUntil(done); }

void Servable::Wake() { scheduler_->Wake(); }

Nanos Servable::Sweep() { return scheduler_->Sweep(); }

void Servable::EndWaiting() { scheduler_->EndWaiting(); }

void Servable::NoteCancelled() { scheduler_->NoteCancelled(); }

Nanos Servable::ExpectedWait() const { return scheduler_->ExpectedWait(); }

double Servable::busy_share() const { return scheduler_->busy_share(); }

size_t Servable::queue_depth() const { return scheduler_->queue_depth(); }

}  // namespace fastserve
