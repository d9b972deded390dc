#include "bind/calls/call.h"

#include <utility>

#include "base/check.h"
#include "bind/calls/caller_object.h"
#include "bind/calls/done_callbacks.h"
#include "bind/calls/loop_queue.h"

namespace fastserve::bind {
namespace {

// More than one loop's iteration or one burst of submissions has; beyond it memory is given back.
constexpr size_t kIdleCallsMax = 1024;

// Counts on the GIL: a build without one would give each thread its own.
std::vector<Call*>& IdleCalls() {
  static auto* const calls = new std::vector<Call*>;  // Never destroyed, like the calls in flight.
  return *calls;
}

}  // namespace

void DropCall::operator()(Call* call) const { call->Unref(); }

CallPtr Call::New() {
  std::vector<Call*>& idle = IdleCalls();
  Call* call = nullptr;
  if (idle.empty()) {
    call = new Call;
  } else {
    call = idle.back();
    idle.pop_back();
  }
  call->owners_.store(1, std::memory_order_relaxed);
  return CallPtr(call);
}

CallPtr Call::Share() {
  owners_.fetch_add(1, std::memory_order_relaxed);
  return CallPtr(this);
}

void Call::Submit() {
  owners_.fetch_add(1, std::memory_order_relaxed);
  servable->Submit(RequestPtr(&request));
}

void Call::Sleep(Nanos until) {
  const uint32_t key = ended_.Prepare();
  if (!done()) ended_.Wait(key, until);
}

void Call::Cancel() {
  request.cancelled.store(true, std::memory_order_relaxed);
  servable->NoteCancelled();
  servable->Sweep();
}

bool Call::Listen(Listener listener) {
  Listener before = Listener::kNobody;
  // SYNC(call-listener): `queue` or `waiter`, written before, are there for OnEnd. And it pairs
  // with OnEnd: if that came first, what it wrote may be read.
  return listener_.compare_exchange_strong(before, listener, std::memory_order_acq_rel,
                                           std::memory_order_acquire);
}

bool Call::StopListening() {
  Listener before = Listener::kLoop;
  // Relaxed: nothing is handed over.
  if (!listener_.compare_exchange_strong(before, Listener::kNobody, std::memory_order_relaxed)) {
    return false;
  }
  queue.reset();  // OnEnd looks at it no more.
  return true;
}

void Call::OnResponse(InferenceRequest&, std::span<ResponseOutput> response) {
  // A call has one answer; how many there were decides at the end.
  if (responses++ > 0) return;
  for (ResponseOutput& output : response) outputs.push_back(std::move(output));
}

void Call::OnEnd(RequestPtr ended, Status status) {
  FS_CHECK(ended.release() == &request);  // It is a member of this.
  end = std::move(status);
  // SYNC(call-ended): what the engine wrote and what is stored above is visible to who waited.
  done_.store(true, std::memory_order_release);
  ended_.Notify();
  // SYNC(call-listener): pairs with Listen.
  switch (listener_.exchange(Listener::kEnded, std::memory_order_acq_rel)) {
    case Listener::kLoop: {
      // Held: once pushed the call, and the loop's part, may be gone.
      const std::shared_ptr<LoopQueue> held = std::move(queue);
      return held->Push(this);
    }
    case Listener::kCallbacks:
      return PushToCallbacks(this);
    case Listener::kNobody:
    case Listener::kEnded:
      return Unref();
  }
}

void Call::Unref() {
  // SYNC(call-dropped): what other owners did to it happened before the last one recycles it.
  if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) RunWithGil(this);
}

// With the GIL. SYNC(call-dropped): pairs with Unref. Python code may run in what is dropped, but
// nobody else has the call until it is idle.
void Call::Recycle(Deferred* node) {
  Call* const call = static_cast<Call*>(node);
  call->named.clear();
  call->outputs.clear();
  call->request.Clear();
  call->request.sink = call;
  Py_CLEAR(call->caller);
  Py_CLEAR(call->waiter);
  call->queue.reset();
  // If it was the last that knew of this version: its runs have ended, so joining is short.
  call->servable.reset();
  call->names.reset();
  call->wanted.clear();
  call->responses = 0;
  call->end = Status();
  call->done_.store(false, std::memory_order_relaxed);
  call->listener_.store(Listener::kNobody, std::memory_order_relaxed);
  std::vector<Call*>& idle = IdleCalls();
  if (idle.size() == kIdleCallsMax) {
    delete call;
  } else {
    idle.push_back(call);
  }
}

}  // namespace fastserve::bind
