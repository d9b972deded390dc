#include "sim/world.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "serving/fake_backend.h"

namespace fastserve {
namespace {

constexpr Nanos kBudget = kMillisecond;  // Of a loop's iteration, as Gateway has it.
constexpr size_t kComplaintsMax = 20;    // The first ones say it.
// Bytes of a request, with which the front end reserves its place.
constexpr size_t kRequestBytes = 100;

}  // namespace

// What the world knows of a request, whatever the scheduler makes of it.
struct World::Job {
  size_t number = 0;
  int connection = -1;  // -1: of the stream, or a patient caller's.
  int loop = 0;
  int width = 1;  // Of its rows: requests of unequal width may not be joined.
  int64_t rows = 1;
  bool is_poisoned = false;
  bool is_patient = false;
  Nanos deadline_ns = kNever;
  Nanos cancelled_ns = kNever;
  Nanos submitted_ns = 0;
  size_t submission = 0;  // How many were submitted before.
  size_t ahead = 0;       // How many of them had not ended.
  Nanos started_ns = 0;
  int responses = 0;
  int ends = 0;
  std::atomic<bool> is_done{false};
  InferenceRequest* request = nullptr;  // While it is the scheduler's.
};

struct World::Loop {
  std::vector<Job*> arrived;
  std::vector<Job*> left;
  Nanos sweep_at = kNever;
};

struct World::SimRequest : InferenceRequest {
  Job* job = nullptr;
};

// Echoes. A row's first number says whose it is, and is negative when it is poison.
class World::Instance final : public ModelInstance {
 public:
  explicit Instance(World& world) : world_(world) {}

  Status Run(std::span<const BatchInput> inputs, int64_t rows, OutputSink& outputs) override {
    const Plan& plan = world_.plan_;
    if (std::exchange(is_running_, true)) world_.Complain("an instance runs twice at once");
    if (rows > plan.batching.batch_rows_max) world_.Complain("a batch has too many rows");
    const Tensor& x = inputs[0].tensor;
    if (x.shape[0] != rows) world_.Complain("a batch has other rows than it says");
    std::vector<float> values(x.bytes.size() / sizeof(float));
    std::memcpy(values.data(), x.bytes.data(), x.bytes.size());
    const Nanos takes = plan.run_ns + rows * plan.row_ns;
    world_.time_.Sleep(takes + static_cast<Nanos>(world_.time_.Below(takes / 4 + 1)));
    is_running_ = false;
    if (std::ranges::any_of(values, [](float value) { return value < 0; })) {
      return Internal("poison");
    }
    const bool is_alone = std::ranges::count(values, values[0]) == std::ssize(values);
    if (plan.fails_now_and_then && !is_alone && world_.time_.OnceIn(20)) {
      return Internal("a hiccup");
    }
    if (plan.fault == Fault::kMixesRows && rows > 1) {
      std::ranges::rotate(values, values.begin() + 1);
      const BatchInput mixed = Floats(x.shape, values);
      outputs.Add(0, mixed.tensor, mixed.owner);
    } else {
      outputs.Add(0, x, inputs[0].owner);
    }
    outputs.EndResponse();
    return {};
  }

 private:
  World& world_;
  bool is_running_ = false;
};

World::World(uint64_t seed, const Plan& plan)
    : plan_(plan),
      time_(seed),
      pool_(SlabPool::Create({})),
      signature_{
          "sim", {Spec("x", DataType::kFp32, {-1, -1})}, {Spec("y", DataType::kFp32, {-1, -1})}},
      admission_({.in_flight_bytes_max = plan.in_flight_bytes_max}),
      loops_(static_cast<size_t>(plan.loops)) {
  std::vector<std::unique_ptr<ModelInstance>> instances;
  for (int i = 0; i < plan.instances; ++i) instances.push_back(std::make_unique<Instance>(*this));
  Scheduler::Options options;
  options.model = "m";
  options.batching = plan.batching;
  options.queue_depth = plan.queue_depth;
  options.caller_runs_max = plan.caller_runs_max;
  options.now = &VirtualTime::Now;
  options.batch = {
      .signature = &signature_, .has_batch_dimension = true, .pool = pool_.get(), .stats = &stats_};
  scheduler_ = std::make_unique<Scheduler>(std::move(options), std::move(instances));
}

World::~World() { scheduler_.reset(); }  // What waits still ends here, and is complained of.

std::vector<std::string> World::Run() {
  began_ns_ = time_.Now();
  for (int i = 0; i < plan_.instances; ++i) time_.Start([this] { InstanceMain(); });
  for (Loop& loop : loops_) time_.Start([this, &loop] { LoopMain(loop); });
  for (int i = 0; i < plan_.patient_callers; ++i) time_.Start([this] { PatientMain(); });
  for (int i = 0; i < plan_.connections; ++i) {
    time_.At(began_ns_ + static_cast<Nanos>(time_.Below(kMillisecond)),
             [this, i] { Arrive(i, i % plan_.loops); });
  }
  Nanos at = began_ns_;
  for (int i = 0; i < plan_.stream_requests; ++i) {
    if (i % plan_.burst == 0) at += time_.Exponential(plan_.stream_gap * plan_.burst);
    time_.At(at, [this, i] { Arrive(-1, i % plan_.loops); });
  }
  time_.Run();
  CheckCounts();
  is_over_ = true;
  scheduler_->Stop();
  time_.Run();
  return complaints_;
}

// ------------------------------------------------------------------------------------------------
// Clients.

World::Job& World::NewJob(int connection, int loop) {
  Job& job = jobs_.emplace_back();
  job.number = jobs_.size();
  job.connection = connection;
  job.loop = loop;
  job.width = static_cast<int>(1 + time_.Below(static_cast<uint64_t>(plan_.shapes)));
  job.rows = static_cast<int64_t>(1 + time_.Below(static_cast<uint64_t>(plan_.rows_max)));
  job.is_poisoned = plan_.fails_now_and_then && time_.OnceIn(10);
  if (plan_.deadline_min > 0 && time_.OnceIn(static_cast<uint64_t>(plan_.deadline_once_in))) {
    const auto more = static_cast<uint64_t>(3 * plan_.deadline_min);
    job.deadline_ns = time_.Now() + plan_.deadline_min + static_cast<Nanos>(time_.Below(more));
  }
  return job;
}

// A request comes to a loop, if there is room for it.
void World::Arrive(int connection, int loop) {
  Job& job = NewJob(connection, loop);
  ++asked_[connection];
  if (!admission_.Reserve(kRequestBytes).ok()) {
    if (admission_.in_flight_bytes() + kRequestBytes <= plan_.in_flight_bytes_max) {
      Complain(job, "was refused although there is room");
    }
    job.ends = 1;
    return AskAgain(connection, loop, time_.Now() + 2 * plan_.run_ns);
  }
  if (admission_.in_flight_bytes() > plan_.in_flight_bytes_max) Complain("too much is in flight");
  loops_[static_cast<size_t>(loop)].arrived.push_back(&job);
  if (plan_.cancel_once_in == 0 || !time_.OnceIn(static_cast<uint64_t>(plan_.cancel_once_in))) {
    return;
  }
  time_.At(time_.Now() + time_.Exponential(2 * plan_.run_ns), [this, &job] {
    if (job.ends == 0) loops_[static_cast<size_t>(job.loop)].left.push_back(&job);
  });
}

// The next request of a connection, if it has one.
void World::AskAgain(int connection, int loop, Nanos when) {
  if (connection < 0 || asked_[connection] == plan_.requests_each) return;
  time_.At(when, [this, connection, loop] { Arrive(connection, loop); });
}

// ------------------------------------------------------------------------------------------------
// Threads.

// As Gateway and its host do.
void World::LoopMain(Loop& loop) {
  while (true) {
    time_.WaitFor([&] { return is_over_ || !loop.arrived.empty() || !loop.left.empty(); },
                  loop.sweep_at);
    if (is_over_) return;
    Iterate(loop);
  }
}

void World::Iterate(Loop& loop) {
  std::vector<Job*> arrived = std::exchange(loop.arrived, {});
  if (plan_.fault == Fault::kSubmitsBackwards) std::ranges::reverse(arrived);
  for (Job* job : arrived) {
    Submit(*job);
    loop.sweep_at = std::min(loop.sweep_at, job->deadline_ns);
  }
  for (Job* job : std::exchange(loop.left, {})) {
    if (job->request == nullptr) continue;
    job->cancelled_ns = time_.Now();
    job->request->cancelled.store(true, std::memory_order_relaxed);
    scheduler_->NoteCancelled();
    loop.sweep_at = time_.Now();
  }
  time_.Yield();
  const bool forgets = plan_.fault == Fault::kForgetsToWake && time_.OnceIn(3);
  if (!arrived.empty() && !forgets) scheduler_->RunHere(kBudget);
  if (loop.sweep_at > time_.Now()) return;
  loop.sweep_at = plan_.fault == Fault::kNeverSweeps ? kNever : scheduler_->Sweep();
}

// As InstanceThread::Main; a Yield stands where something may come in between.
void World::InstanceMain() {
  Signal& signal = scheduler_->signal();
  while (!scheduler_->stopped()) {
    if (scheduler_->RunSome().ran) continue;
    time_.Yield();
    const uint32_t key = signal.Prepare();
    time_.Yield();
    Scheduler::Step step;
    if (plan_.fault != Fault::kSleepsBlindly) step = scheduler_->RunSome();
    time_.Yield();
    if (step.ran || scheduler_->stopped()) continue;
    // Who prepares again sees the same word unless somebody has notified.
    time_.WaitFor([&] { return signal.Prepare() != key; }, step.until);
  }
}

// A program that asks the model in its own process, and has nothing else to do.
void World::PatientMain() {
  for (int i = 0; i < plan_.requests_each; ++i) {
    Job& job = NewJob(-1, 0);
    job.is_patient = true;
    job.deadline_ns = kNever;  // Nobody sweeps for it.
    if (!admission_.Reserve(kRequestBytes).ok()) {
      job.ends = 1;
      time_.Sleep(plan_.run_ns);
      continue;
    }
    Submit(job);
    time_.Yield();
    scheduler_->RunUntil(job.is_done);
    time_.WaitFor([this, &job] { return is_over_ || job.is_done.load(std::memory_order_relaxed); });
    time_.Sleep(time_.Exponential(plan_.run_ns));
  }
}

// ------------------------------------------------------------------------------------------------
// The front end's half.

void World::Submit(Job& job) {
  auto* request = new SimRequest;
  request->job = &job;
  request->sink = this;
  request->rows = job.rows;
  request->join_key = static_cast<uint64_t>(job.width);
  if (plan_.fault != Fault::kHidesDeadlines) request->deadline_ns = job.deadline_ns;
  const float mark = static_cast<float>(job.number) * (job.is_poisoned ? -1.0F : 1.0F);
  const std::vector<float> values(static_cast<size_t>(job.rows) * static_cast<size_t>(job.width),
                                  mark);
  request->inputs.push_back(Floats({job.rows, job.width}, values));
  request->input_bytes = values.size() * sizeof(float);
  job.submitted_ns = time_.Now();
  job.submission = ++submissions_;
  job.ahead = unended_++;
  job.request = request;
  scheduler_->Submit(RequestPtr(request));
  const size_t depth = scheduler_->queue_depth();
  if (depth > plan_.queue_depth) Complain("too many wait");
  waiting_max_ = std::max(waiting_max_, depth);
}

void World::OnResponse(InferenceRequest& request, std::span<ResponseOutput> outputs) {
  Job& job = *static_cast<SimRequest&>(request).job;
  if (++job.responses > 1) Complain(job, "was answered twice");
  const Tensor& tensor = outputs[0].tensor;
  if (tensor.shape[0] != job.rows || tensor.shape[1] != job.width) {
    Complain(job, "was answered in another shape");
  }
  std::vector<float> values(tensor.bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  const auto own = std::ranges::count(values, static_cast<float>(job.number));
  if (own != std::ssize(values)) Complain(job, "was answered with another's rows");
}

void World::OnEnd(RequestPtr request, Status status) {
  auto* const ended = static_cast<SimRequest*>(request.release());
  Job& job = *ended->job;
  const std::unique_ptr<SimRequest> dies(ended);
  if (plan_.fault == Fault::kSwallowsAnswers && time_.OnceIn(10)) return;
  job.started_ns = ended->started_ns;
  if (job.started_ns != 0) CheckStart(job);
  Ended(job, status.code());
}

void World::Ended(Job& job, Code code) {
  job.request = nullptr;
  --unended_;
  if (++job.ends > 1) Complain(job, "ended twice");
  job.is_done.store(true, std::memory_order_relaxed);
  if (plan_.fault != Fault::kLeaksBytes || code == Code::kOk) admission_.Release(kRequestBytes);
  ended_ns_ = time_.Now();
  CheckEnd(job, code);
  if (code == Code::kOk && ended_ns_ <= job.deadline_ns) good_rows_ += job.rows;
  AskAgain(job.connection, job.loop, ended_ns_);
}

// ------------------------------------------------------------------------------------------------
// What must hold.

void World::CheckStart(const Job& job) {
  if (job.started_ns > job.deadline_ns) Complain(job, "was run after its deadline");
  if (job.started_ns > job.cancelled_ns) Complain(job, "was run after it was cancelled");
  // Those in front of it run on all instances; the last of them may just have begun, and a thread
  // that runs what is cheap may keep the rest for as long as its budget. The first wait for
  // company.
  const Nanos runs = static_cast<Nanos>(job.ahead) / plan_.instances + 2;
  const Nanos wait_max = plan_.batching.queue_delay_max + runs * LongestRun() + kBudget;
  if (job.started_ns - job.submitted_ns > wait_max) Complain(job, "waited too long");
}

// Requests of one shape start in the order in which they were submitted, and those of one loop in
// the order in which they came: that keeps the order of any connection.
void World::CheckOrder() {
  std::map<int, const Job*> last_of_shape;
  std::map<std::pair<int, int>, const Job*> last_of_loop;
  std::vector<const Job*> ran;
  for (const Job& job : jobs_) {
    if (job.started_ns != 0) ran.push_back(&job);
  }
  const auto check = [this](const Job*& last, const Job& job) {
    if (last != nullptr && last->started_ns > job.started_ns) Complain(job, "overtook another");
    last = &job;
  };
  for (const Job* job : ran) {
    if (!job->is_patient) check(last_of_loop[{job->loop, job->width}], *job);
  }
  std::ranges::sort(ran, {}, &Job::submission);
  for (const Job* job : ran) check(last_of_shape[job->width], *job);
}

// How long an instance may be away: a batch that fails is run again, request by request.
Nanos World::LongestRun() const {
  const int64_t rows = plan_.batching.batch_rows_max;
  const Nanos longest = (plan_.run_ns + rows * plan_.row_ns) * 5 / 4 + 1;
  return plan_.fails_now_and_then ? longest * (rows + 1) : longest;
}

void World::CheckEnd(const Job& job, Code code) {
  switch (code) {
    case Code::kOk:
      if (job.responses != 1) Complain(job, "ended well without an answer");
      if (job.is_poisoned) Complain(job, "ended well although it is poison");
      break;
    case Code::kInternal:
      if (!job.is_poisoned) Complain(job, "failed for another's fault");
      break;
    case Code::kCancelled:
      if (job.cancelled_ns == kNever) Complain(job, "was cancelled by nobody");
      break;
    case Code::kDeadlineExceeded:
      if (time_.Now() < job.deadline_ns) Complain(job, "was given up before its deadline");
      // The loop may be held up by a run of its own.
      if (time_.Now() > job.deadline_ns + kBudget + LongestRun()) Complain(job, "was told late");
      break;
    case Code::kResourceExhausted:
      if (scheduler_->queue_depth() < plan_.queue_depth)
        Complain(job, "was refused by a queue that is not full");
      break;
    case Code::kUnavailable:
      if (job.deadline_ns == kNever) Complain(job, "was refused without a deadline");
      break;
    default:
      Complain(job, "ended in an odd way");
  }
}

void World::CheckCounts() {
  CheckOrder();
  for (const Job& job : jobs_) {
    if (job.ends != 1) Complain(job, job.ends == 0 ? "never ended" : "ended more than once");
  }
  if (admission_.in_flight_bytes() != 0) Complain("bytes are still reserved");
  if (scheduler_->queue_depth() != 0) Complain("somebody waits still");
  uint64_t counted = stats_.success.value();
  for (const Counter& failure : stats_.failures) counted += failure.value();
  if (counted != submissions_) Complain("not every request is counted once");
}

void World::Complain(const Job& job, std::string_view what) {
  Complain(StrCat("request ", job.number, " (submission ", job.submission, ", ", job.rows,
                  " rows, at ", (time_.Now() - began_ns_) / kMicrosecond, " us) ", what));
}

void World::Complain(std::string what) {
  if (complaints_.size() < kComplaintsMax) complaints_.push_back(std::move(what));
}

}  // namespace fastserve
