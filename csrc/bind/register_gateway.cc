#include <pybind11/stl.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bind/errors.h"
#include "bind/event_loop_gateway.h"
#include "bind/register.h"
#include "memory/heap.h"

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
      .def_readonly("is_grpc", &ControlRequest::is_grpc)
      .def_property_readonly("method",
                             [](const ControlRequest& request) { return Latin1(request.method); })
      .def_property_readonly("path",
                             [](const ControlRequest& request) { return Utf8(request.path); })
      .def_property_readonly("query",
                             [](const ControlRequest& request) { return Latin1(request.query); })
      .def_property_readonly("peer",
                             [](const ControlRequest& request) {
                               if (request.owner == nullptr) return Latin1("");
                               return Utf8(request.owner->FindPeer().Text());
                             })
      .def_readonly("may_share", &ControlRequest::may_share)
      .def_property_readonly("peer_uid",
                             [](const ControlRequest& request) {
                               return request.owner == nullptr ? -1 : request.owner->FindPeer().uid;
                             })
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

std::unique_ptr<EventLoopGateway> MakeGateway(
    std::shared_ptr<ServingMap> serving_map, py::object loop, py::object on_control,
    size_t body_bytes_max, size_t in_flight_bytes_max, size_t connections_max,
    Nanos head_timeout_ns, Nanos body_timeout_ns, Nanos idle_timeout_ns,
    size_t connections_per_client_max, size_t streams_per_connection_max, Nanos keepalive_ns,
    Nanos connection_age_ns, Nanos drain_grace_ns, bool access_log,
    const std::vector<std::string>& cors_origins, std::shared_ptr<RegionRegistry> regions) {
  GatewayOptions options;
  options.body_bytes_max = body_bytes_max;
  options.in_flight_bytes_max = in_flight_bytes_max;
  options.connections_max = connections_max;
  options.head_timeout = head_timeout_ns;
  options.body_timeout = body_timeout_ns;
  options.idle_timeout = idle_timeout_ns;
  options.connections_per_client_max = connections_per_client_max;
  options.streams_per_connection_max = streams_per_connection_max;
  options.keepalive = keepalive_ns;
  options.connection_age = connection_age_ns;
  options.drain_grace = drain_grace_ns;
  options.access_log = access_log;
  options.cors_origins = cors_origins;
  options.regions = std::move(regions);
  return std::make_unique<EventLoopGateway>(std::move(serving_map), std::move(loop),
                                            std::move(on_control), options);
}

py::dict StatsOf(EventLoopGateway& gateway) {
  const GatewayStats& stats = gateway.core().stats();
  const SlabPool::Stats memory = gateway.core().memory();
  py::dict made;
  made["requests"] = stats.requests.value();
  made["connections_opened"] = stats.connections_opened.value();
  made["connections_closed"] = stats.connections_closed.value();
  made["bytes_in"] = stats.bytes_in.value();
  made["bytes_out"] = stats.bytes_out.value();
  made["in_flight_bytes"] = gateway.core().in_flight_bytes();
  made["rejected_per_client"] = stats.rejected_per_client.value();
  made["results_dropped"] = stats.results_dropped.value();
  for (size_t i = 0; i < kConnectionEndNames.size(); ++i) {
    made[py::str("closes_" + std::string(kConnectionEndNames[i]))] = stats.closes[i].value();
  }
  made["slab_bytes"] = memory.in_use_bytes + memory.cached_bytes;
  made["slab_bytes_free"] = memory.cached_bytes;
  made["slabs"] = memory.slabs;
  made["access_records_dropped"] = stats.access_records_dropped.value();
  made["trace_records_dropped"] = stats.trace_records_dropped.value();
  for (size_t status = 0; status < stats.responses.size(); ++status) {
    const uint64_t count = stats.responses[status].value();
    if (count > 0) made[py::str("responses_" + std::to_string(status))] = count;
  }
  made["http2_connections"] = stats.http2_connections.value();
  made["http2_floods"] = stats.http2_floods.value();
  for (size_t code = 0; code < stats.grpc_responses.size(); ++code) {
    const uint64_t count = stats.grpc_responses[code].value();
    if (count == 0) continue;
    made[py::str("grpc_responses_" + std::string(CodeName(static_cast<Code>(code))))] = count;
  }
  return made;
}

py::dict InFlightOf(const InFlightRequest& request, Nanos now) {
  py::dict made;
  made["model"] = Utf8(request.model);
  made["version"] = Utf8(request.version);
  made["id"] = Utf8(request.id);
  made["peer"] = Utf8(request.peer);
  made["phase"] = Latin1(request.phase);
  made["age_ns"] = request.age;
  made["deadline_in_ns"] = request.deadline_ns == kNever
                               ? py::object(py::none())
                               : py::object(py::int_(request.deadline_ns - now));
  made["body_bytes"] = request.body_bytes;
  return made;
}

py::dict DebugOf(EventLoopGateway& gateway, size_t limit) {
  const Nanos now = NowNanos();
  const DebugSnapshot snapshot = gateway.core().Debug(limit, now);
  const SlabPool::Stats slabs = gateway.core().memory();
  py::list in_flight;
  for (const InFlightRequest& request : snapshot.in_flight) {
    in_flight.append(InFlightOf(request, now));
  }
  py::dict states;
  for (size_t i = 0; i < kConnectionStateNames.size(); ++i) {
    states[Latin1(kConnectionStateNames[i])] = snapshot.connections_by_state[i];
  }
  py::dict memory;
  memory["slab_bytes"] = slabs.in_use_bytes + slabs.cached_bytes;
  memory["slab_bytes_free"] = slabs.cached_bytes;
  memory["in_flight_bytes"] = gateway.core().in_flight_bytes();
  const HeapStats heap = ReadHeap();
  memory["heap_bytes"] = heap.system_bytes;
  memory["heap_bytes_free"] = heap.system_bytes - heap.in_use_bytes;
  py::dict made;
  made["in_flight"] = in_flight;
  made["abandoned"] = snapshot.abandoned;
  made["connections"] = gateway.core().connections();
  made["connections_by_state"] = states;
  made["memory"] = memory;
  return made;
}

py::dict RecordOf(const AccessRecord& record) {
  py::dict made;
  made["time_ns"] = record.time_ns;
  made["peer"] = Utf8(record.peer);
  made["method"] = Latin1(record.method);
  made["path"] = Latin1(record.path);
  made["status"] = record.status;
  made["grpc_status"] = Latin1(record.grpc_code ? CodeName(*record.grpc_code) : "");
  made["model"] = Utf8(record.model);
  made["version"] = Utf8(record.version);
  made["id"] = Utf8(record.id);
  made["bytes_in"] = record.bytes_in;
  made["bytes_out"] = record.bytes_out;
  made["batch_rows"] = record.batch_rows;
  made["receive_ns"] = record.receive;
  made["queue_ns"] = record.queue;
  made["stage_ns"] = record.stage;
  made["run_ns"] = record.run;
  made["finish_ns"] = record.finish;
  made["send_ns"] = record.send;
  made["total_ns"] = record.total;
  return made;
}

py::list ListOf(const std::deque<AccessRecord>& records) {
  py::list made;
  for (const AccessRecord& record : records) made.append(RecordOf(record));
  return made;
}

void Trace(EventLoopGateway& gateway, uint32_t of_all,
           const std::map<std::string, uint32_t>& of_models) {
  gateway.core().trace_sampler().Set(
      {.of_all = of_all, .of_models = {of_models.begin(), of_models.end()}});
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
  module.def("limit_heaps", &LimitHeaps, py::arg("count"));
  module.def("trim_heap", &TrimHeap, py::call_guard<py::gil_scoped_release>());
  const GatewayOptions defaults;
  py::class_<EventLoopGateway>(module, "Gateway", py::is_final(),
                               py::custom_type_setup(&SetUpCollection))
      .def(py::init(&MakeGateway), py::arg("serving_map"), py::arg("loop"), py::arg("on_control"),
           py::kw_only(), py::arg("body_bytes_max") = defaults.body_bytes_max,
           py::arg("in_flight_bytes_max") = defaults.in_flight_bytes_max,
           py::arg("connections_max") = defaults.connections_max,
           py::arg("head_timeout_ns") = defaults.head_timeout,
           py::arg("body_timeout_ns") = defaults.body_timeout,
           py::arg("idle_timeout_ns") = defaults.idle_timeout,
           py::arg("connections_per_client_max") = defaults.connections_per_client_max,
           py::arg("streams_per_connection_max") = defaults.streams_per_connection_max,
           py::arg("keepalive_ns") = defaults.keepalive,
           py::arg("connection_age_ns") = defaults.connection_age,
           py::arg("drain_grace_ns") = defaults.drain_grace, py::arg("access_log") = false,
           py::arg("cors_origins") = defaults.cors_origins, py::arg("regions") = py::none())
      .def_property_readonly("fd", [](EventLoopGateway& gateway) { return gateway.core().fd(); })
      .def("drain", [](EventLoopGateway& gateway) { gateway.core().Drain(/*signalled=*/true); })
      .def("sweep", [](EventLoopGateway& gateway) { return gateway.core().Sweep(NowNanos()); })
      .def("trim_memory", [](EventLoopGateway& gateway) { return gateway.core().TrimMemory(); })
      .def("begin_drain", [](EventLoopGateway& gateway) { gateway.core().BeginDrain(NowNanos()); })
      .def_property_readonly("connections",
                             [](EventLoopGateway& gateway) { return gateway.core().connections(); })
      .def_property_readonly("in_flight",
                             [](EventLoopGateway& gateway) { return gateway.core().in_flight(); })
      .def("stats", &StatsOf)
      .def("debug", &DebugOf, py::arg("limit") = 100)
      .def("take_access_records",
           [](EventLoopGateway& gateway) { return ListOf(gateway.core().access_log().Take()); })
      .def("trace", &Trace, py::arg("of_all"), py::arg("of_models"))
      .def("take_trace_records",
           [](EventLoopGateway& gateway) { return ListOf(gateway.core().trace_log().Take()); });
}

}  // namespace fastserve::bind
