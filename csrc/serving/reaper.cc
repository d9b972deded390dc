#include "serving/reaper.h"

#include <cstring>
#include <memory>
#include <utility>

#include "base/thread.h"
#include "serving/servable.h"

namespace fastserve {
namespace {

// Sleeps until `is_done`, which whoever makes it true tells with `signal`; whether it was in time.
template <typename IsDone>
bool SleepUntil(Signal& signal, Nanos deadline, IsDone is_done) {
  while (true) {
    const uint32_t key = signal.Prepare();
    if (is_done()) return true;
    if (deadline != kNever && NowNanos() >= deadline) return false;
    signal.Wait(key, deadline);
  }
}

// Never destroyed: servables may go while the process ends.
std::atomic<Reaper*> of_process{nullptr};

}  // namespace

bool Departure::is_gone() const {
  // SYNC(departure-gone): pairs with Tell; what the servable held is free after this.
  return is_gone_.load(std::memory_order_acquire);
}

bool Departure::WaitUntil(Nanos deadline) {
  return SleepUntil(told_, deadline, [this] { return is_gone(); });
}

void Departure::Tell() {
  // SYNC(departure-gone): pairs with is_gone.
  is_gone_.store(true, std::memory_order_release);
  told_.Notify();
}

Result<Reaper*> Reaper::OfProcess() {
  // SYNC(reaper-made): pairs with the exchange below.
  Reaper* known = of_process.load(std::memory_order_acquire);
  // No mutex: whoever held one at a fork would hold it for ever in the child.
  if (known != nullptr && !ForkedSince(known->generation_)) return known;
  Result<Reaper*> started = Start();
  if (!started.ok()) return started;
  // SYNC(reaper-made): pairs with the load above.
  if (of_process.compare_exchange_strong(known, *started, std::memory_order_acq_rel)) {
    return started;
  }
  return known;  // Two came at once: the other one's is used, and this one sleeps for ever.
}

Result<Reaper*> Reaper::Start() {
  std::unique_ptr<Reaper> reaper(new Reaper);
  const int error = StartThread(&reaper->thread_, &Reaper::Main, reaper.get());
  if (error != 0) return ResourceExhausted("no thread to end models: ", std::strerror(error));
  return reaper.release();
}

void Reaper::Take(Servable* servable) noexcept {
  if (ForkedSince(generation_)) return Destroy(servable);
  {
    const MutexLock lock(mutex_);
    (first_ == nullptr ? first_ : last_->next_dead_) = servable;
    last_ = servable;
    ++taken_;
  }
  has_work_.Notify();
}

bool Reaper::WaitUntil(Nanos deadline) {
  if (ForkedSince(generation_)) return true;
  uint64_t taken = 0;
  {
    const MutexLock lock(mutex_);
    taken = taken_;
  }
  return SleepUntil(has_destroyed_, deadline, [this, taken] {
    // SYNC(reaper-destroyed): pairs with Main.
    return destroyed_.load(std::memory_order_acquire) >= taken;
  });
}

bool Reaper::WaitForAllUntil(Nanos deadline) {
  // SYNC(reaper-made): pairs with the exchange in OfProcess.
  Reaper* const reaper = of_process.load(std::memory_order_acquire);
  return reaper == nullptr || reaper->WaitUntil(deadline);
}

void* Reaper::Main(void* self) {
  Reaper& reaper = *static_cast<Reaper*>(self);
  pthread_setname_np(pthread_self(), "fs-reaper");
  while (true) {
    Servable* servable = nullptr;
    SleepUntil(reaper.has_work_, kNever, [&] {
      servable = reaper.Next();
      return servable != nullptr;
    });
    Destroy(servable);
    // SYNC(reaper-destroyed): pairs with WaitUntil.
    reaper.destroyed_.fetch_add(1, std::memory_order_release);
    reaper.has_destroyed_.Notify();
  }
}

Servable* Reaper::Next() {
  const MutexLock lock(mutex_);
  Servable* const servable = first_;
  if (servable != nullptr) first_ = servable->next_dead_;
  return servable;
}

void Reaper::Destroy(Servable* servable) noexcept {
  const std::shared_ptr<Departure> departure = servable->departure();
  delete servable;
  departure->Tell();
}

}  // namespace fastserve
