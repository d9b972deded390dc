// ShmConnection: a client's end of a channel; with ShmSignature and ShmCall what
// fastserve.client.shm stands on.
#include <pybind11/stl.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "bind/errors.h"
#include "bind/register.h"
#include "bind/shm/shm_call.h"
#include "bind/shm/shm_signature.h"
#include "bind/without_gil.h"
#include "channel/client/channel_client.h"

namespace py = pybind11;

namespace fastserve::bind {
namespace {

// Nobody waits for its end with the GIL: it has a thread to be joined.
class ShmConnection {
 public:
  explicit ShmConnection(std::shared_ptr<ChannelClient> core) : core_(std::move(core)) {}
  ~ShmConnection() {
    const py::gil_scoped_release released;
    core_.reset();
  }
  ShmConnection(const ShmConnection&) = delete;
  ShmConnection& operator=(const ShmConnection&) = delete;

  ChannelClient& core() const { return *core_; }

 private:
  std::shared_ptr<ChannelClient> core_;
};

std::unique_ptr<ShmConnection> Connect(const std::string& address, size_t segment_bytes,
                                       Nanos connect_timeout_ns, Nanos spin_ns,
                                       std::optional<uint32_t> server_user) {
  const ChannelClientOptions options{.segment_bytes = segment_bytes,
                                     .connect_timeout = connect_timeout_ns,
                                     .spin = spin_ns,
                                     .server_user = server_user};
  return std::make_unique<ShmConnection>(
      Take(WithoutGil([&] { return ChannelClient::Connect(address, options); })));
}

std::shared_ptr<ShmSignature> Describe(const ShmConnection& connection, const std::string& model,
                                       const std::string& version, Nanos deadline_ns) {
  return std::make_shared<ShmSignature>(
      Take(WithoutGil([&] { return connection.core().Describe(model, version, deadline_ns); })));
}

py::object NewCall(const ShmConnection& connection, std::shared_ptr<ShmSignature> signature,
                   std::string_view version, std::string_view id) {
  return NewShmCall(Take(connection.core().NewCall(signature->model, version, id)), signature);
}

}  // namespace

void RegisterShm(py::module_& module) {
  RegisterShmSignature(module);
  RegisterShmCall(module);
  const ChannelClientOptions defaults;
  py::class_<ShmConnection>(module, "ShmConnection", py::is_final())
      .def(py::init(&Connect), py::arg("address"), py::kw_only(),
           py::arg("segment_bytes") = defaults.segment_bytes,
           py::arg("connect_timeout_ns") = defaults.connect_timeout,
           py::arg("spin_ns") = defaults.spin, py::arg("server_user") = py::none())
      .def("describe", &Describe, py::arg("model"), py::arg("version"), py::arg("deadline_ns"))
      .def("new_call", &NewCall, py::arg("signature").none(false), py::arg("version"),
           py::arg("id"))
      .def("close",
           [](const ShmConnection& self) {
             const py::gil_scoped_release released;
             self.core().Close();
           })
      .def("take_ready", [](const ShmConnection& self) { return self.core().TakeReady(); })
      .def_property_readonly("fd", [](const ShmConnection& self) { return self.core().fd(); })
      .def_property_readonly("is_open",
                             [](const ShmConnection& self) { return self.core().is_open(); })
      .def_property_readonly("server_pid",
                             [](const ShmConnection& self) { return self.core().server_pid(); })
      .def_property_readonly("segment_bytes",
                             [](const ShmConnection& self) { return self.core().segment_bytes(); })
      .def_property_readonly("bytes_in_use",
                             [](const ShmConnection& self) { return self.core().bytes_in_use(); });
}

}  // namespace fastserve::bind
