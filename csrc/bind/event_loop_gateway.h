// EventLoopGateway: a Gateway whose host is an asyncio event loop.
//
// Threads: the loop's, with the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "gateway/gateway.h"

namespace fastserve::bind {

class EventLoopGateway final : public GatewayHost {
 public:
  EventLoopGateway(std::shared_ptr<ServingMap> serving_map, pybind11::object loop,
                   pybind11::object on_control, const GatewayOptions& options);
  ~EventLoopGateway() override;

  Gateway& core() { return *core_; }
  // A memoryview of the buffer that connections share: made once.
  PyObject* shared_view() const { return shared_view_.ptr(); }

  // The end of a loop's iteration: models run without the GIL, then answers are sent.
  void EndIteration();
  // The timer fired.
  void WakeUp();

  // GatewayHost.
  bool ScheduleIteration() override;
  bool ScheduleWakeUp(Nanos at) override;
  void OnControl(std::shared_ptr<ControlRequest> request) override;

  // For Python's cycle collector.
  int Traverse(visitproc visit, void* argument);
  void Clear();

 private:
  void CancelTimer() noexcept;

  pybind11::object on_control_;
  pybind11::object call_soon_;
  pybind11::object call_soon_threadsafe_;
  pybind11::object call_later_;
  pybind11::object end_iteration_;  // What call_soon calls.
  pybind11::object wake_up_;        // What call_later calls.
  pybind11::object timer_;          // The handle of the call that is to come; None without one.
  // Where those two find this object; null when it is gone before the loop calls.
  EventLoopGateway** self_ = nullptr;
  std::shared_ptr<Gateway> core_;  // Held by EndIteration as well.
  pybind11::object shared_view_;
};

}  // namespace fastserve::bind
