#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "base/annotations.h"
#include "bind/errors.h"
#include "bind/register.h"
#include "bind/without_gil.h"
#include "gateway/channel/channel_listener.h"

namespace py = pybind11;

namespace fastserve::bind {
namespace {

// A ChannelListener whose end Python's threads may ask for at the same time, and which nobody waits
// for with the GIL: its sessions' threads have work to end.
class ShmListener {
 public:
  explicit ShmListener(std::unique_ptr<ChannelListener> core) : core_(std::move(core)) {}
  ~ShmListener() {
    const py::gil_scoped_release released;
    core_.reset();
  }
  ShmListener(const ShmListener&) = delete;
  ShmListener& operator=(const ShmListener&) = delete;

  const ChannelListener& core() const { return *core_; }
  void EndLoading() { core_->EndLoading(); }
  void BeginDrain() { core_->BeginDrain(); }
  void Stop() FS_EXCLUDES(stopping_) {
    const MutexLock lock(stopping_);
    if (!std::exchange(is_stopped_, true)) core_->Stop();
  }

 private:
  Mutex stopping_;
  bool is_stopped_ FS_GUARDED_BY(stopping_) = false;
  std::unique_ptr<ChannelListener> core_;
};

std::unique_ptr<ShmListener> Start(std::shared_ptr<ServingMap> serving_map,
                                   const std::string& address, size_t clients_max,
                                   size_t segment_bytes_max, Nanos spin_ns, bool is_loading) {
  const ChannelListenerOptions options{.address = address,
                                       .clients_max = clients_max,
                                       .segment_bytes_max = segment_bytes_max,
                                       .spin = spin_ns,
                                       .is_loading = is_loading};
  return std::make_unique<ShmListener>(
      Take(WithoutGil([&] { return ChannelListener::Start(std::move(serving_map), options); })));
}

py::dict StatsOf(const ShmListener& listener) {
  const ChannelStats& stats = listener.core().stats();
  py::dict made;
  made["clients"] = stats.clients.load(std::memory_order_relaxed);
  made["in_flight"] = stats.in_flight.load(std::memory_order_relaxed);
  made["segment_bytes"] = stats.segment_bytes.load(std::memory_order_relaxed);
  made["clients_opened"] = stats.clients_opened.value();
  made["clients_closed"] = stats.clients_closed.value();
  made["clients_refused"] = stats.clients_refused.value();
  made["requests"] = stats.requests.value();
  made["responses"] = stats.responses.value();
  made["violations"] = stats.violations.value();
  for (size_t code = 0; code < stats.ends.size(); ++code) {
    const uint64_t count = stats.ends[code].value();
    if (count == 0) continue;
    made[py::str("ends_" + std::string(CodeName(static_cast<Code>(code))))] = count;
  }
  return made;
}

}  // namespace

void RegisterChannel(py::module_& module) {
  const ChannelListenerOptions defaults;
  py::class_<ShmListener>(module, "ShmListener", py::is_final())
      .def(py::init(&Start), py::arg("serving_map").none(false), py::arg("address"), py::kw_only(),
           py::arg("clients_max") = defaults.clients_max,
           py::arg("segment_bytes_max") = defaults.segment_bytes_max,
           py::arg("spin_ns") = defaults.spin, py::arg("is_loading") = false)
      .def("end_loading", &ShmListener::EndLoading)
      .def("begin_drain", &ShmListener::BeginDrain, py::call_guard<py::gil_scoped_release>())
      .def("stop", &ShmListener::Stop, py::call_guard<py::gil_scoped_release>())
      .def_property_readonly(
          "in_flight", [](const ShmListener& listener) { return listener.core().in_flight(); })
      .def("stats", &StatsOf);
}

}  // namespace fastserve::bind
