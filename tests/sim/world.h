// World: a scheduler with everything around it, in virtual time.
//
//   clients ─► loops ── Submit, RunHere, Sweep ──► Scheduler ◄── RunSome ── instances' threads
//                ▲   patient callers ── RunUntil ─►    │
//                └──────────────── answers ◄───────────┴─► instances whose runs take virtual time
//
// The Scheduler, DynamicBatcher, Batch and Admission are the real ones. What is played around them
// does what gateway/ and InstanceThread do, through the same calls. What should hold is looked at
// all the time; what does not is a complaint.
//
// Threads: none of its own; everything runs under VirtualTime.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "memory/slab_pool.h"
#include "serving/admission.h"
#include "serving/scheduling/scheduler.h"
#include "sim/virtual_time.h"

namespace fastserve {

// What is broken on purpose, to see that it is noticed.
enum class Fault : uint8_t {
  kNone,
  kSleepsBlindly,     // An instance's thread does not look between Prepare and Wait.
  kForgetsToWake,     // A loop submits and goes on without RunHere.
  kSubmitsBackwards,  // A loop submits what arrived together from the last to the first.
  kMixesRows,         // The engine answers one client with another's row.
  kNeverSweeps,       // A loop does not look after deadlines.
  kHidesDeadlines,    // The scheduler is not told when a request is late.
  kSwallowsAnswers,   // The sink loses an answer now and then.
  kLeaksBytes,        // A request that failed keeps its reservation.
};

// All that differs between two worlds.
struct Plan {
  Fault fault = Fault::kNone;
  int instances = 1;
  int loops = 1;
  int patient_callers = 0;
  DynamicBatcher::Options batching = {.batch_rows_max = 8, .preferred_rows = {}};
  size_t queue_depth = 64;
  Nanos caller_runs_max = 0;
  size_t in_flight_bytes_max = size_t{1} << 20;
  // A run takes run_ns + rows * row_ns, and up to a quarter more.
  Nanos run_ns = 100 * kMicrosecond;
  Nanos row_ns = 5 * kMicrosecond;
  bool fails_now_and_then = false;  // Batches of several requests, and every poisoned request.
  // Traffic: connections that ask again when they were answered, and a stream of arrivals.
  int connections = 4;
  int requests_each = 10;
  int stream_requests = 0;
  Nanos stream_gap = kMillisecond;  // On average.
  int burst = 1;                    // So many come at once.
  int shapes = 1;
  int64_t rows_max = 1;    // Of a request.
  Nanos deadline_min = 0;  // 0: no deadlines; else up to four times as much.
  int deadline_once_in = 1;
  int cancel_once_in = 0;  // 0: nobody leaves.
};

// Of every size and kind; the same for the same seed.
Plan DrawPlan(uint64_t seed);

class World final : private ResponseSink {
 public:
  World(uint64_t seed, const Plan& plan);
  ~World() override;

  // Lets everything happen, and says what was wrong; nothing when all was right.
  std::vector<std::string> Run();

  // Rows that were answered in time, and when the last request ended.
  int64_t good_rows() const { return good_rows_; }
  Nanos ended_ns() const { return ended_ns_; }
  Nanos began_ns() const { return began_ns_; }
  const ServableStats& stats() const { return stats_; }

 private:
  struct Job;
  struct Loop;
  struct SimRequest;
  class Instance;

  // Clients.
  void Arrive(int connection, int loop);
  Job& NewJob(int connection, int loop);
  void AskAgain(int connection, int loop, Nanos when);
  // Threads.
  void LoopMain(Loop& loop);
  void Iterate(Loop& loop);
  void InstanceMain();
  void PatientMain();
  // The front end's half.
  void Submit(Job& job);
  void OnResponse(InferenceRequest& request, std::span<ResponseOutput> outputs) override;
  void OnEnd(RequestPtr request, Status status) override;
  void Ended(Job& job, Code code);
  // What must hold.
  void CheckStart(const Job& job);
  void CheckEnd(const Job& job, Code code);
  void CheckOrder();
  void CheckCounts();
  Nanos LongestRun() const;
  void Complain(const Job& job, std::string_view what);
  void Complain(std::string what);

  const Plan plan_;
  VirtualTime time_;
  std::unique_ptr<SlabPool> pool_;
  ServableStats stats_;
  Signature signature_;
  Admission admission_;
  std::unique_ptr<Scheduler> scheduler_;
  std::deque<Job> jobs_;
  std::deque<Loop> loops_;
  std::vector<std::string> complaints_;
  std::map<int, int> asked_;  // By connection: how many requests.
  size_t submissions_ = 0;
  size_t unended_ = 0;  // Submitted, and not ended.
  size_t waiting_max_ = 0;
  bool is_over_ = false;
  int64_t good_rows_ = 0;
  Nanos began_ns_ = 0;
  Nanos ended_ns_ = 0;
};

}  // namespace fastserve
