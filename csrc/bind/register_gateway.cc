#include <pybind11/stl.h>

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bind/errors.h"
#include "bind/event_loop_gateway.h"
#include "bind/register.h"

namespace py = pybind11;

namespace fastserve::bind {
namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

// Heads are bytes, and not always UTF-8: Latin-1 keeps each of them.
py::str Latin1(std::string_view text) {
  return py::reinterpret_steal<py::str>(
      PyUnicode_DecodeLatin1(text.data(), static_cast<Py_ssize_t>(text.size()), nullptr));
}
// Paths are UTF-8 when they come from our clients; anything else still becomes text.
py::str Utf8(std::string_view text) {
  return py::reinterpret_steal<py::str>(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

void Respond(ControlRequest& request, int status, std::string_view body, const Headers& headers) {
  std::vector<HttpHeader> fields;
  for (const auto& [name, value] : headers) fields.push_back({name, value});
  Check(request.Respond(status, body, fields));
}

void RegisterControlRequest(py::module_& module) {
  py::class_<ControlRequest, std::shared_ptr<ControlRequest>>(module, "ControlRequest",
                                                              py::is_final())
      .def_property_readonly("method",
                             [](const ControlRequest& request) { return Latin1(request.method); })
      .def_property_readonly("path",
                             [](const ControlRequest& request) { return Utf8(request.path); })
      .def_property_readonly("query",
                             [](const ControlRequest& request) { return Latin1(request.query); })
      .def_property_readonly("headers",
                             [](const ControlRequest& request) {
                               py::list headers;
                               for (const auto& [name, value] : request.headers) {
                                 headers.append(py::make_tuple(Latin1(name), Latin1(value)));
                               }
                               return headers;
                             })
      .def_property_readonly("body",
                             [](const ControlRequest& request) {
                               const auto bytes = request.body.bytes();
                               return py::bytes(reinterpret_cast<const char*>(bytes.data()),
                                                bytes.size());
                             })
      .def("respond", &Respond, py::arg("status"), py::arg("body") = py::bytes(),
           py::arg("headers") = Headers());
}

std::unique_ptr<EventLoopGateway> MakeGateway(std::shared_ptr<ServingMap> serving_map,
                                              py::object loop, py::object on_control,
                                              size_t body_bytes_max, size_t in_flight_bytes_max,
                                              size_t connections_max, Nanos head_timeout_ns,
                                              Nanos body_timeout_ns, Nanos idle_timeout_ns,
                                              bool access_log) {
  GatewayOptions options;
  options.body_bytes_max = body_bytes_max;
  options.in_flight_bytes_max = in_flight_bytes_max;
  options.connections_max = connections_max;
  options.head_timeout = head_timeout_ns;
  options.body_timeout = body_timeout_ns;
  options.idle_timeout = idle_timeout_ns;
  options.access_log = access_log;
  return std::make_unique<EventLoopGateway>(std::move(serving_map), std::move(loop),
                                            std::move(on_control), options);
}

py::dict StatsOf(EventLoopGateway& gateway) {
  const GatewayStats& stats = gateway.core().stats();
  py::dict made;
  made["requests"] = stats.requests.value();
  made["connections_opened"] = stats.connections_opened.value();
  made["connections_closed"] = stats.connections_closed.value();
  made["bytes_in"] = stats.bytes_in.value();
  made["bytes_out"] = stats.bytes_out.value();
  made["in_flight_bytes"] = gateway.core().in_flight_bytes();
  made["access_records_dropped"] = stats.access_records_dropped.value();
  for (size_t status = 0; status < stats.responses.size(); ++status) {
    const uint64_t count = stats.responses[status].value();
    if (count > 0) made[py::str("responses_" + std::to_string(status))] = count;
  }
  return made;
}

py::dict RecordOf(const AccessRecord& record) {
  py::dict made;
  made["time_ns"] = record.time_ns;
  made["peer"] = Utf8(record.peer);
  made["method"] = Latin1(record.method);
  made["path"] = Latin1(record.path);
  made["status"] = record.status;
  made["model"] = Utf8(record.model);
  made["version"] = Utf8(record.version);
  made["id"] = Utf8(record.id);
  made["bytes_in"] = record.bytes_in;
  made["bytes_out"] = record.bytes_out;
  made["batch_rows"] = record.batch_rows;
  made["receive_ns"] = record.receive;
  made["queue_ns"] = record.queue;
  made["compute_ns"] = record.compute;
  made["send_ns"] = record.send;
  made["total_ns"] = record.total;
  return made;
}

py::list TakeAccessRecords(EventLoopGateway& gateway) {
  py::list records;
  for (const AccessRecord& record : gateway.core().access_log().Take()) {
    records.append(RecordOf(record));
  }
  return records;
}

// The gateway holds the loop and a callback that hold the gateway: the collector must see that.
void SetUpCollection(PyHeapTypeObject* type) {
  type->ht_type.tp_flags |= Py_TPFLAGS_HAVE_GC;
  type->ht_type.tp_traverse = [](PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    if (!py::detail::is_holder_constructed(self)) return 0;
    return py::cast<EventLoopGateway&>(py::handle(self)).Traverse(visit, arg);
  };
  type->ht_type.tp_clear = [](PyObject* self) {
    if (py::detail::is_holder_constructed(self)) {
      py::cast<EventLoopGateway&>(py::handle(self)).Clear();
    }
    return 0;
  };
}

}  // namespace

void RegisterGateway(py::module_& module) {
  RegisterControlRequest(module);
  const GatewayOptions defaults;
  py::class_<EventLoopGateway>(module, "Gateway", py::is_final(),
                               py::custom_type_setup(&SetUpCollection))
      .def(py::init(&MakeGateway), py::arg("serving_map"), py::arg("loop"), py::arg("on_control"),
           py::kw_only(), py::arg("body_bytes_max") = defaults.body_bytes_max,
           py::arg("in_flight_bytes_max") = defaults.in_flight_bytes_max,
           py::arg("connections_max") = defaults.connections_max,
           py::arg("head_timeout_ns") = defaults.head_timeout,
           py::arg("body_timeout_ns") = defaults.body_timeout,
           py::arg("idle_timeout_ns") = defaults.idle_timeout, py::arg("access_log") = false)
      .def_property_readonly("fd", [](EventLoopGateway& gateway) { return gateway.core().fd(); })
      .def("drain", [](EventLoopGateway& gateway) { gateway.core().Drain(/*signalled=*/true); })
      .def("sweep", [](EventLoopGateway& gateway) { return gateway.core().Sweep(NowNanos()); })
      .def("begin_drain", [](EventLoopGateway& gateway) { gateway.core().BeginDrain(); })
      .def_property_readonly("connections",
                             [](EventLoopGateway& gateway) { return gateway.core().connections(); })
      .def_property_readonly("in_flight",
                             [](EventLoopGateway& gateway) { return gateway.core().in_flight(); })
      .def("stats", &StatsOf)
      .def("take_access_records", &TakeAccessRecords);
}

}  // namespace fastserve::bind
