#include "serving/scheduling/scheduler.h"

#include <sched.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <ostream>
#include <utility>

#include "base/check.h"

namespace fastserve {
namespace {

// A request that looks hopeless is let through when nothing was learned of its like for so long.
constexpr Nanos kTryAfterMin = kSecond;
constexpr Nanos kTryAfterMax = 10 * kSecond;

Scheduler::Options Completed(Scheduler::Options options, size_t instances) {
  options.batch.now = options.now;
  // What runs count is counted by whoever holds the instance, and it goes from one to the next
  // under the mutex.
  options.batch.is_alone = instances == 1;
  const size_t scan_max = DynamicBatcher(options.batching).scan_max();
  options.batch.requests_max = std::min(scan_max, options.queue_depth);
  return options;
}

WaitEstimate::Options EstimateOf(const DynamicBatcher::Options& batching, size_t instances) {
  return {.instances = instances,
          .rows_max = batching.join_requests ? std::max(batching.batch_rows_max, int64_t{1}) : 1,
          .queue_delay_max = batching.queue_delay_max};
}

// A duration for people: "850 us", "120 ms". Written where it is wanted, so that it needs no
// memory.
struct About {
  Nanos duration;

  friend std::ostream& operator<<(std::ostream& out, const About& about) {
    if (about.duration >= 10 * kMillisecond) return out << about.duration / kMillisecond << " ms";
    return out << about.duration / kMicrosecond << " us";
  }
};

}  // namespace

Scheduler::Scheduler(Options options, std::vector<std::unique_ptr<ModelInstance>> instances)
    : options_(Completed(std::move(options), instances.size())),
      batcher_(options_.batching),
      line_(options_.queue_depth),
      load_(instances.size()),
      waits_(EstimateOf(options_.batching, instances.size()), &cost_),
      arrivals_(options_.queue_depth) {
  for (std::unique_ptr<ModelInstance>& instance : instances) {
    instances_.push_back(std::make_unique<Instance>(std::move(instance), options_.batch));
    instances_.back()->number = instances_.size() - 1;
  }
  const MutexLock lock(mutex_);
  for (const auto& instance : instances_) idle_.push_back(instance.get());
  chosen_.reserve(options_.batch.requests_max);
}

Scheduler::~Scheduler() { EndWaiting(); }

void Scheduler::End(RequestPtr request, Status status) {
  ResponseSink* sink = request->sink;
  sink->OnEnd(std::move(request), std::move(status));
}

// ------------------------------------------------------------------------------------------------
// Coming in: no lock.

bool Scheduler::ReservePlace() {
  size_t waiting = waiting_.load(std::memory_order_relaxed);
  do {
    if (waiting >= options_.queue_depth) return false;
    // SYNC(place-freed): pairs with FreePlaces; the cell of whoever left is free before its place
    // is.
  } while (!waiting_.compare_exchange_weak(waiting, waiting + 1, std::memory_order_acquire,
                                           std::memory_order_relaxed));
  return true;
}

void Scheduler::Submit(RequestPtr request) {
  if (was_forked()) [[unlikely]] {
    options_.batch.stats->CountFailure(FailureReason::kRejected);
    constexpr auto kWhy = " was loaded before this process was forked: load it here";
    return End(std::move(request), FailedPrecondition(options_.model, kWhy));
  }
  if (request->submitted_ns == 0) request->submitted_ns = options_.now();
  Nanos expected = 0;
  if (request->deadline_ns != kNever && IsHopeless(*request, &expected)) {
    options_.batch.stats->CountFailure(FailureReason::kRejected);
    const Nanos left = request->deadline_ns - request->submitted_ns;
    return End(std::move(request),
               Unavailable(options_.model, " is busy: the request would be answered in about ",
                           About{expected}, ", its deadline is in ", About{left}));
  }
  if (!ReservePlace()) {
    options_.batch.stats->CountFailure(FailureReason::kRejected);
    return End(std::move(request), ResourceExhausted("the queue of ", options_.model, " is full: ",
                                                     options_.queue_depth, " requests wait"));
  }
  if (request->deadline_ns != kNever) deadlines_.fetch_add(1, std::memory_order_relaxed);
  // Whoever has a place finds a cell: at most queue_depth are taken.
  FS_CHECK(arrivals_.TryPush(std::move(request)));
}

bool Scheduler::IsHopeless(const InferenceRequest& request, Nanos* expected) {
  const Nanos now = request.submitted_ns;
  const Nanos left = request.deadline_ns - now;
  if (left <= 0) return false;  // It is late already, and ends as such.
  const WaitEstimate::Answer answer =
      waits_.Expect(now, queue_depth(), request.input_bytes, request.rows);
  *expected = answer.after;
  if (answer.after <= left) return false;
  // What refuses everybody is never learned anew: now and then one may try.
  const Nanos try_after = std::clamp(2 * answer.after, kTryAfterMin, kTryAfterMax);
  Nanos tried = tried_ns_.load(std::memory_order_relaxed);
  return now - std::max(tried, answer.learned_ns) < try_after ||
         !tried_ns_.compare_exchange_strong(tried, now, std::memory_order_relaxed,
                                            std::memory_order_relaxed);
}

Nanos Scheduler::ExpectedWait() const {
  return waits_.ExpectAverage(options_.now(), queue_depth());
}

void Scheduler::Wake() {
  if (queue_depth() > 0 && !was_forked()) NotifyInstances();
}

void Scheduler::NotifyInstances() {
  if (options_.near_runs_max > 0) {
    const bool is_near = runs_are_short_.load(std::memory_order_relaxed);
    near_cpu_.store(is_near ? sched_getcpu() : -1, std::memory_order_relaxed);
  }
  signal_.Notify();
}

// ------------------------------------------------------------------------------------------------
// Looking for work.

Nanos Scheduler::RunHere(Nanos budget) {
  if (queue_depth() == 0 || was_forked()) return 0;
  if (options_.caller_runs_max == 0) {
    NotifyInstances();
    return 0;
  }
  Nanos spent = 0;
  Instance* done = nullptr;
  while (true) {
    const Nanos cost_max = std::min(options_.caller_runs_max, budget - spent);
    const Look look = LookForWork(Looker::kCaller, cost_max, done);
    if (look.instance == nullptr) return spent;
    const Batch::Outcome outcome = Run(look);
    options_.batch.stats->caller_runs.Add(outcome.runs, options_.batch.is_alone);
    spent += outcome.took;
    done = look.instance;
  }
}

void Scheduler::RunUntil(const std::atomic<bool>& done) {
  if (queue_depth() == 0 || was_forked()) return;
  if (options_.caller_runs_max == 0) return NotifyInstances();
  Instance* held = nullptr;
  // Relaxed: only a hint when to stop. Whoever waits for the answer pairs with what its sink did.
  while (!done.load(std::memory_order_relaxed)) {
    const Look look = LookForWork(Looker::kPatientCaller, kNever, held);
    if (look.instance == nullptr) return;
    options_.batch.stats->caller_runs.Add(Run(look).runs, options_.batch.is_alone);
    held = look.instance;
  }
  if (held != nullptr) {
    const MutexLock lock(mutex_);
    GiveBack(held);
  }
  Wake();
}

Scheduler::Step Scheduler::RunSome() {
  constexpr int kRunsMax = 32;
  Step step;
  Instance* done = nullptr;
  for (int run = 0; run < kRunsMax; ++run) {
    const Look look = LookForWork(Looker::kInstanceThread, kNever, done);
    step.until = look.until;
    if (look.instance == nullptr) return step;
    Run(look);
    step.ran = true;
    done = look.instance;
  }
  const MutexLock lock(mutex_);
  GiveBack(done);  // The caller looks again at once, so nothing is left unseen.
  return step;
}

Scheduler::Look Scheduler::LookForWork(Looker looker, Nanos cost_max, Instance* done) {
  RequestList dropped;
  Look look;
  {
    const MutexLock lock(mutex_);
    if (done != nullptr) GiveBack(done);
    DrainArrivals();
    if (looker == Looker::kInstanceThread) armed_until_ = kNever;
    if (!line_.empty() && !stopped()) look = LookLocked(looker, cost_max, &dropped);
  }
  if (look.wake) signal_.Notify();
  EndDropped(dropped, look.now);
  return look;
}

Scheduler::Look Scheduler::LookLocked(Looker looker, Nanos cost_max, RequestList* dropped) {
  Look look;
  look.now = options_.now();
  // Only where the batcher will look: a request that is far behind is looked at when its turn comes
  // or by a sweep, and the mutex is not held for all of a long line.
  const size_t size = line_.size();
  const size_t deadlines = line_.deadlines();
  const auto front = line_.Front(look.now, batcher_.scan_max(), dropped);
  FreePlaces(size, deadlines);
  const auto decision = batcher_.Next(look.now, front, idle_.size(), &chosen_);
  if (decision.action == DynamicBatcher::Action::kWaitUntil) {
    look.until = decision.until;
    look.wake = looker != Looker::kInstanceThread && decision.until < armed_until_;
    if (looker == Looker::kInstanceThread) armed_until_ = decision.until;
  }
  if (decision.action != DynamicBatcher::Action::kRun) return look;
  size_t bytes = 0;
  for (const uint32_t position : chosen_) bytes += front[position]->input_bytes;
  const Nanos likely = cost_.P90(bytes);
  if (cost_max != kNever && likely > cost_max) {
    look.wake = true;
    return look;
  }
  look.reason = decision.reason;
  // A caller's long run keeps it from what is left, which another instance could begin with now.
  TakeWork(looker == Looker::kPatientCaller && likely > options_.caller_runs_max, &look);
  return look;
}

// Those in chosen_ run on an idle instance.
void Scheduler::TakeWork(bool is_away, Look* look) {
  Instance& instance = *idle_.back();
  idle_.pop_back();
  look->instance = &instance;
  const size_t size = line_.size();
  const size_t deadlines = line_.deadlines();
  line_.TakeOut(chosen_, [&](RequestPtr request) { instance.batch.Add(std::move(request)); });
  FreePlaces(size, deadlines);
  look->wake = is_away && !idle_.empty() && !line_.empty();
  load_.Note(look->now, 1);
  waits_.NoteTake({.now = look->now,
                   .instance = instance.number,
                   .requests = chosen_.size(),
                   .rows = instance.batch.rows(),
                   .bytes = instance.batch.input_bytes(),
                   .left = line_.size(),
                   .idle = idle_.size()});
}

void Scheduler::GiveBack(Instance* instance) {
  idle_.push_back(instance);
  load_.Note(instance->finished_ns, -1);
  waits_.NoteFree(instance->number, idle_.size());
  if (instance->run_ns == kNever) return;
  cost_.Record(instance->run_bytes, instance->run_ns, instance->finished_ns);
  if (options_.near_runs_max == 0) return;
  const bool is_short = cost_.P90(instance->run_bytes) <= options_.near_runs_max;
  runs_are_short_.store(is_short, std::memory_order_relaxed);
}

double Scheduler::busy_share() const {
  if (was_forked()) return 0;
  const Nanos now = options_.now();
  const MutexLock lock(mutex_);
  return load_.Load(now);
}

// ------------------------------------------------------------------------------------------------
// The line of those who wait.

void Scheduler::DrainArrivals() {
  RequestPtr request;
  while (arrivals_.TryPop(&request)) line_.Push(std::move(request));
}

void Scheduler::FreePlaces(size_t size_before, size_t deadlines_before) {
  const size_t deadlines = deadlines_before - line_.deadlines();
  if (deadlines > 0) deadlines_.fetch_sub(deadlines, std::memory_order_relaxed);
  const size_t left = size_before - line_.size();
  // SYNC(place-freed): the arrival's cell was freed above or long ago; its place may be taken.
  if (left > 0) waiting_.fetch_sub(left, std::memory_order_release);
}

// ------------------------------------------------------------------------------------------------
// Outside the mutex.

Batch::Outcome Scheduler::Run(const Look& look) {
  Instance& instance = *look.instance;
  options_.batch.stats->CountClose(look.reason, options_.batch.is_alone);
  instance.run_bytes = instance.batch.input_bytes();
  const Batch::Outcome outcome = instance.batch.Run(*instance.model, look.now);
  instance.run_ns = outcome.together ? outcome.took : kNever;
  instance.finished_ns = outcome.finished;
  return outcome;
}

void Scheduler::Stop() {
  // Relaxed: whoever sleeps or is about to is told by the signal, which orders this before it.
  stopped_.store(true, std::memory_order_relaxed);
  signal_.Notify();
}

Status Scheduler::Rehearse(size_t index, std::span<const BatchInput> inputs, int64_t rows,
                           bool learn) {
  // Looks at the answer, and drops it.
  struct Critic : OutputSink {
    Critic(const Batch::Options& batch, int64_t rows) : batch(batch), rows(rows) {}
    void Add(size_t index, const Tensor& tensor, BufferRef) override {
      if (!batch.has_batch_dimension || tensor.rows() == rows || !error.ok()) return;
      error = Internal("output '", batch.signature->outputs[index].name, "' came with shape ",
                       tensor.shape.ToString(), " for ", rows,
                       " rows, expected one row for each: the model's first dimension is no batch");
    }
    void EndResponse() override {}
    BufferRef Allocate(size_t bytes) override { return batch.pool->Acquire(bytes); }
    const Batch::Options& batch;
    const int64_t rows;
    Status error;
  };
  Instance* const instance = instances_[index].get();
  const Nanos started = options_.now();
  {
    const MutexLock lock(mutex_);
    if (std::erase(idle_, instance) == 0) {
      return Unavailable(options_.model, ": the instance is busy");
    }
    load_.Note(started, 1);
  }
  Critic critic(options_.batch, rows);
  Status status;
  try {
    status = instance->model->Run(inputs, rows, critic);
    if (status.ok()) status = std::move(critic.error);
  } catch (const std::bad_alloc&) {
    status = Status::OutOfMemory();
  }
  instance->finished_ns = options_.now();
  instance->run_bytes = 0;
  for (const BatchInput& input : inputs) instance->run_bytes += input.tensor.bytes.size();
  instance->run_ns = status.ok() && learn ? instance->finished_ns - started : kNever;
  {
    const MutexLock lock(mutex_);
    GiveBack(instance);
  }
  // What came meanwhile may have found no idle instance.
  Wake();
  return status;
}

}  // namespace fastserve
