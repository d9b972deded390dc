// Call: one request from Python of this process, and what is kept of it until its answer is made.
//
// Two own it: Python's side (infer's frame, a Future, a loop) and, from Submit to OnEnd, the
// scheduler. Whoever is last gives it back to the pool, with the GIL (deferred.h). So Python may
// turn its back at any time, and the engine may still read the inputs.
//
//   CallPtr call = Call::New();
//   ... Bind into call->request ...
//   call->Submit();
//   call->RunOrSleep(until);          // without the GIL
//   if (call->done()) ...             // outputs and end may be read
//
// Threads: with the GIL, except: OnResponse and OnEnd on any thread; RunOrSleep, done and Sweep
// without it. From Submit until done, request (but for `cancelled`), outputs, responses and end are
// the scheduler's.
#pragma once

#include <Python.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "bind/arrays/deferred.h"
#include "serving/inference_request.h"
#include "serving/servable.h"
#include "sync/signal.h"

namespace fastserve::bind {

class Call;
class LoopQueue;
struct TensorNames;

// Gives up Python's share.
struct DropCall {
  void operator()(Call* call) const;
};
using CallPtr = std::unique_ptr<Call, DropCall>;

// The same on a thread that has the GIL, which saves a detour.
inline void DropWithGil(CallPtr call) {
  const GilHeld held;
  call.reset();
}

class Call final : public ResponseSink, private Deferred {
 public:
  // From the pool. Nobody but the caller has it.
  static CallPtr New();

  // Another share of Python's, for a thread that waits while others may give up theirs.
  CallPtr Share();

  // Hands it to the scheduler. It may have ended when this returns.
  void Submit();

  // Whether it has ended: outputs, responses and end are there.
  bool done() const {
    // SYNC(call-ended): pairs with OnEnd.
    return done_.load(std::memory_order_acquire);
  }
  // Runs the model on this thread if an instance is idle; until the call has ended.
  void Run() { servable->RunUntil(done_); }
  // Sleeps until it has ended, `until`, or a signal; may return for no reason.
  void Sleep(Nanos until);

  // To be ended without a run, if none has begun.
  void Cancel();

  // Who is told of the end besides sleepers. Exactly one of them, once.
  enum class Listener : uint8_t {
    kNobody,
    kLoop,       // The call goes into `queue`, with the scheduler's share.
    kCallbacks,  // The call goes to done_callbacks.h, with the scheduler's share.
    kEnded,      // Too late to listen.
  };
  // False if it has ended: nobody tells.
  bool Listen(Listener listener);
  // Nobody is told. False if it has ended: the loop is told already, or about to be.
  bool StopListening();

  // ResponseSink.
  void OnResponse(InferenceRequest& request, std::span<ResponseOutput> outputs) override;
  void OnEnd(RequestPtr request, Status status) override;

  InferenceRequest request;
  ServableHandle servable;
  std::shared_ptr<const TensorNames> names;  // Those of the servable.
  std::vector<NamedInput> named;             // For Bind; its capacity is kept.
  std::vector<uint32_t> wanted;              // Numbers of outputs; empty: all.
  PyObject* caller = nullptr;                // The CallerObject, owned.
  PyObject* waiter = nullptr;  // The Future that has callbacks, or the loop's future, owned.
  Nanos received_ns = 0;       // When Python called.
  std::shared_ptr<LoopQueue> queue;
  // Links of the lists that a loop keeps of its calls.
  Call* next_in_queue = nullptr;
  Call* next_pending = nullptr;
  Call* previous_pending = nullptr;

  // Of the first response.
  std::vector<ResponseOutput> outputs;
  size_t responses = 0;
  Status end;

 private:
  friend struct DropCall;
  Call() : Deferred(&Recycle) { request.sink = this; }
  void Unref();
  static void Recycle(Deferred* node);

  std::atomic<uint32_t> owners_{0};
  std::atomic<bool> done_{false};
  std::atomic<Listener> listener_{Listener::kNobody};
  Signal ended_;
};

}  // namespace fastserve::bind
