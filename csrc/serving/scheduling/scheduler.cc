#include "serving/scheduling/scheduler.h"

#include <sched.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace fastserve {
namespace {

Scheduler::Options WithOneClock(Scheduler::Options options) {
  options.batch.now = options.now;
  return options;
}

}  // namespace

Scheduler::Scheduler(Options options, std::vector<std::unique_ptr<ModelInstance>> instances)
    : options_(WithOneClock(std::move(options))),
      batcher_(options_.batching),
      arrivals_(options_.queue_depth) {
  for (std::unique_ptr<ModelInstance>& instance : instances) {
    instances_.push_back(std::make_unique<Instance>(std::move(instance), options_.batch));
  }
  const MutexLock lock(mutex_);
  for (const auto& instance : instances_) idle_.push_back(instance.get());
  // Twice the depth: the line is moved to the front at most once in `queue_depth` requests.
  line_.reserve(2 * options_.queue_depth);
}

Scheduler::~Scheduler() {
  std::vector<RequestPtr> left;
  {
    const MutexLock lock(mutex_);
    DrainArrivals();
    for (RequestPtr& request : Line()) left.push_back(std::move(request));
  }
  for (RequestPtr& request : left) {
    options_.batch.stats->CountFailure(FailureReason::kCancelled);
    End(std::move(request), Unavailable(options_.model, " stopped before the request ran"));
  }
}

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
    // SYNC(place-freed): pairs with TakeOut; the cell of whoever left is free before its place is.
  } while (!waiting_.compare_exchange_weak(waiting, waiting + 1, std::memory_order_acquire,
                                           std::memory_order_relaxed));
  return true;
}

void Scheduler::Submit(RequestPtr request) {
  if (was_forked()) [[unlikely]] {
    options_.batch.stats->CountFailure(FailureReason::kRejected);
    return End(std::move(request), FailedPrecondition(options_.model,
                                                      " was loaded before this "
                                                      "process was forked: load it here"));
  }
  if (request->submitted_ns == 0) request->submitted_ns = options_.now();
  if (!ReservePlace()) {
    options_.batch.stats->CountFailure(FailureReason::kRejected);
    return End(std::move(request), ResourceExhausted("the queue of ", options_.model, " is full: ",
                                                     options_.queue_depth, " requests wait"));
  }
  // Whoever has a place finds a cell: at most queue_depth are taken.
  FS_CHECK(arrivals_.TryPush(std::move(request)));
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
    options_.batch.stats->caller_runs.Add(outcome.runs);
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
    options_.batch.stats->caller_runs.Add(Run(look).runs);
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
  std::vector<RequestPtr> dropped;  // Allocates only when there are some.
  Look look;
  {
    const MutexLock lock(mutex_);
    if (done != nullptr) GiveBack(done);
    DrainArrivals();
    if (looker == Looker::kInstanceThread) armed_until_ = kNever;
    if (!Line().empty() && !stopped()) look = LookLocked(looker, cost_max, &dropped);
  }
  if (look.wake) signal_.Notify();
  if (!dropped.empty()) EndDropped(dropped, look.now);
  return look;
}

Scheduler::Look Scheduler::LookLocked(Looker looker, Nanos cost_max,
                                      std::vector<RequestPtr>* dropped) {
  Look look;
  look.now = options_.now();
  DropDead(look.now, dropped);
  const auto decision = batcher_.Next(look.now, Line(), idle_.size(), &chosen_);
  switch (decision.action) {
    case DynamicBatcher::Action::kSleep:
      break;
    case DynamicBatcher::Action::kWaitUntil:
      look.until = decision.until;
      look.wake = looker != Looker::kInstanceThread && decision.until < armed_until_;
      if (looker == Looker::kInstanceThread) armed_until_ = decision.until;
      break;
    case DynamicBatcher::Action::kRun:
      if (cost_max != kNever && !IsCheap(cost_max)) {
        look.wake = true;
        break;
      }
      look.reason = decision.reason;
      TakeWork(looker, &look);
      break;
  }
  return look;
}

// Those in chosen_ run on an idle instance.
void Scheduler::TakeWork(Looker looker, Look* look) {
  // A caller's long run keeps it from what is left, which another instance could begin with now.
  const bool is_away = looker == Looker::kPatientCaller && !IsCheap(options_.caller_runs_max);
  look->instance = idle_.back();
  idle_.pop_back();
  TakeOut([look](RequestPtr request) { look->instance->batch.Add(std::move(request)); });
  look->wake = is_away && !idle_.empty() && !Line().empty();
}

bool Scheduler::IsCheap(Nanos cost_max) const {
  size_t bytes = 0;
  for (const uint32_t position : chosen_) bytes += line_[line_start_ + position]->input_bytes;
  return cost_.P90(bytes) <= cost_max;
}

void Scheduler::GiveBack(Instance* instance) {
  idle_.push_back(instance);
  if (instance->run_ns == kNever) return;
  cost_.Record(instance->run_bytes, instance->run_ns);
  if (options_.near_runs_max == 0) return;
  const bool is_short = cost_.P90(instance->run_bytes) <= options_.near_runs_max;
  runs_are_short_.store(is_short, std::memory_order_relaxed);
}

// ------------------------------------------------------------------------------------------------
// The line of those who wait.

void Scheduler::DrainArrivals() {
  RequestPtr request;
  while (arrivals_.TryPop(&request)) {
    if (line_.size() == line_.capacity()) {
      line_.erase(line_.begin(), line_.begin() + static_cast<std::ptrdiff_t>(line_start_));
      line_start_ = 0;
    }
    line_.push_back(std::move(request));
  }
}

// Only where the batcher will look: a request that is far behind is looked at when its turn comes,
// and the mutex is not held for all of a long line.
void Scheduler::DropDead(Nanos now, std::vector<RequestPtr>* dropped) {
  const std::span<RequestPtr> line = Line();
  size_t live = 0;  // Of a prefix that grows until it has as many as the batcher looks at.
  chosen_.clear();
  for (uint32_t i = 0; i < line.size() && live < batcher_.scan_max(); ++i) {
    const bool dead =
        line[i]->deadline_ns < now || line[i]->cancelled.load(std::memory_order_relaxed);
    if (dead) {
      chosen_.push_back(i);
    } else {
      ++live;
    }
  }
  TakeOut([dropped](RequestPtr request) { dropped->push_back(std::move(request)); });
}

// Calls `take` with each request whose position is in chosen_ (ascending).
template <typename Take>
void Scheduler::TakeOut(Take take) {
  if (chosen_.empty()) return;
  const std::span<RequestPtr> line = Line();
  for (const uint32_t position : chosen_) take(std::move(line[position]));
  // Those who were passed over close ranks behind the last one taken; nobody overtakes.
  size_t to = chosen_.back() + size_t{1};
  if (to != chosen_.size()) {
    for (size_t from = to; from-- > 0;) {
      if (line[from] != nullptr) line[--to] = std::move(line[from]);
    }
  }
  line_start_ += chosen_.size();
  if (line_start_ == line_.size()) {
    line_.clear();
    line_start_ = 0;
  }
  // SYNC(place-freed): the arrival's cell was freed above or long ago; its place may be taken.
  waiting_.fetch_sub(chosen_.size(), std::memory_order_release);
}

// ------------------------------------------------------------------------------------------------
// Outside the mutex.

Batch::Outcome Scheduler::Run(const Look& look) {
  Instance& instance = *look.instance;
  options_.batch.stats->CountClose(look.reason);
  instance.run_bytes = instance.batch.input_bytes();
  const Batch::Outcome outcome = instance.batch.Run(*instance.model, look.now);
  instance.run_ns = outcome.together ? outcome.took : kNever;
  return outcome;
}

void Scheduler::EndDropped(std::vector<RequestPtr>& dropped, Nanos now) {
  ServableStats& stats = *options_.batch.stats;
  for (RequestPtr& request : dropped) {
    if (request->cancelled.load(std::memory_order_relaxed)) {
      stats.CountFailure(FailureReason::kCancelled);
      End(std::move(request), Status(Code::kCancelled, "the request was cancelled before it ran"));
      continue;
    }
    stats.CountFailure(FailureReason::kDeadline);
    const Nanos late = now - request->deadline_ns;
    End(std::move(request),
        Status(Code::kDeadlineExceeded, StrCat("the request waited for ", options_.model, " until ",
                                               late / kMicrosecond, " us past its deadline")));
  }
}

void Scheduler::Stop() {
  // Relaxed: whoever sleeps or is about to is told by the signal, which orders this before it.
  stopped_.store(true, std::memory_order_relaxed);
  signal_.Notify();
}

Nanos Scheduler::Rehearse(size_t index, std::span<const BatchInput> inputs, int64_t rows,
                          bool learn) {
  struct Discard : OutputSink {
    explicit Discard(SlabPool* pool) : pool(pool) {}
    void Add(size_t, const Tensor&, BufferRef) override {}
    void EndResponse() override {}
    BufferRef Allocate(size_t bytes) override { return pool->Acquire(bytes); }
    SlabPool* pool;
  };
  Instance* const instance = instances_[index].get();
  {
    const MutexLock lock(mutex_);
    if (std::erase(idle_, instance) == 0) return kNever;
  }
  Discard discard(options_.batch.pool);
  const Nanos started = options_.now();
  const bool ok = instance->model->Run(inputs, rows, discard).ok();
  const Nanos took = options_.now() - started;
  instance->run_bytes = 0;
  for (const BatchInput& input : inputs) instance->run_bytes += input.tensor.bytes.size();
  instance->run_ns = ok && learn ? took : kNever;
  {
    const MutexLock lock(mutex_);
    GiveBack(instance);
  }
  // What came meanwhile may have found no idle instance.
  Wake();
  return ok ? took : kNever;
}

}  // namespace fastserve
