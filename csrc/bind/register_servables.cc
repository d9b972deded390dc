#include <pybind11/stl.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "bind/arrays/deferred.h"
#include "bind/errors.h"
#include "bind/model.h"
#include "bind/register.h"
#include "bind/without_gil.h"
#include "serving/reaper.h"
#include "serving/servable.h"
#include "serving/serving_map.h"

namespace py = pybind11;

namespace fastserve::bind {
namespace {

std::shared_ptr<Servable> MakeServable(const Model& model, std::string name, int64_t version,
                                       std::vector<TensorSpec> inputs,
                                       std::vector<TensorSpec> outputs, int64_t max_batch_size,
                                       Nanos max_queue_delay_ns,
                                       std::vector<int64_t> preferred_batch_sizes,
                                       int instance_count, size_t queue_depth,
                                       const std::string& caller_runs, bool join_requests) {
  if (caller_runs != "auto" && caller_runs != "never") {
    Check(InvalidArgument("caller_runs is '", caller_runs, "', expected auto or never"));
  }
  ServableOptions options;
  options.name = std::move(name);
  options.version = version;
  options.inputs = std::move(inputs);
  options.outputs = std::move(outputs);
  options.max_batch_size = max_batch_size;
  options.join_requests = join_requests;
  options.max_queue_delay = max_queue_delay_ns;
  options.preferred_batch_sizes = std::move(preferred_batch_sizes);
  options.instance_count = instance_count;
  options.queue_depth = queue_depth;
  options.caller_runs = caller_runs == "auto";
  return Take(WithoutGil([&] { return Servable::Create(model.backend, std::move(options)); }));
}

WarmUpSizes ParseSizes(const std::string& text) {
  if (text == "none") return WarmUpSizes::kNone;
  if (text == "powers") return WarmUpSizes::kPowersOfTwo;
  if (text != "all") {
    Check(InvalidArgument("sizes are '", text, "', expected powers, all or none"));
  }
  return WarmUpSizes::kAll;
}

void WarmUp(Servable& servable, const std::string& text, bool gently) {
  const WarmUpSizes sizes = ParseSizes(text);
  WithoutGil(
      [&] {
        servable.WarmUp(sizes);
        return true;
      },
      gently);
}

// name, datatype, shape, and the content: "zeros", "random" or bytes.
using SampleInput = std::tuple<std::string, std::string, std::vector<int64_t>, py::object>;

// `input` must outlive what it returns.
WarmUpInput ParseSampleInput(const SampleInput& input) {
  const auto& [name, datatype, shape, content] = input;
  const std::optional<DataType> type = ParseDataType(datatype);
  if (!type) Check(InvalidArgument("'", name, "': there is no datatype '", datatype, "'"));
  if (shape.size() > Shape::kMaxRank) {
    Check(InvalidArgument("'", name, "' has ", shape.size(), " dimensions, at most ",
                          Shape::kMaxRank, " are possible"));
  }
  WarmUpInput parsed{.name = name, .type = *type, .shape = Shape(shape), .given = {}};
  if (py::isinstance<py::bytes>(content)) {
    parsed.content = WarmUpInput::Content::kGiven;
    parsed.given = std::string_view(content.cast<py::bytes>());
    return parsed;
  }
  const auto word = content.cast<std::string>();
  if (word != "zeros" && word != "random") {
    Check(InvalidArgument("'", name, "' holds '", word, "', expected zeros, random or bytes"));
  }
  if (word == "random") parsed.content = WarmUpInput::Content::kRandom;
  return parsed;
}

void WarmUpWith(Servable& servable, const std::vector<SampleInput>& inputs, int64_t rows,
                int64_t count, bool gently) {
  WarmUpSample sample;
  sample.rows = rows;
  sample.count = count;
  for (const SampleInput& input : inputs) sample.inputs.push_back(ParseSampleInput(input));
  Check(WithoutGil([&] { return servable.WarmUpWith(sample); }, gently));
}

py::dict Durations(const DurationHistogram& histogram) {
  py::list buckets;
  uint64_t count = 0;
  for (size_t i = 0; i < DurationHistogram::kBuckets; ++i) {
    const uint64_t in_bucket = histogram.bucket(i);
    count += in_bucket;
    const bool is_last = i + 1 == DurationHistogram::kBuckets;
    buckets.append(py::make_tuple(
        is_last ? py::object(py::none()) : py::int_(DurationHistogram::UpperLimit(i)), in_bucket));
  }
  py::dict made;
  made["buckets"] = buckets;
  made["sum_ns"] = histogram.sum_ns();
  made["count"] = count;  // Of these buckets: the total that goes with them.
  return made;
}

template <typename Counters, typename Names>
py::dict ByName(const Counters& counters, const Names& names) {
  py::dict made;
  for (size_t i = 0; i < names.size(); ++i) {
    made[py::str(names[i].data(), names[i].size())] = counters[i].value();
  }
  return made;
}

py::dict StatsOf(const Servable& servable) {
  const ServableStats& stats = servable.stats();
  py::dict rows;
  for (size_t i = 0; i < stats.batch_rows.size(); ++i) {
    if (const uint64_t count = stats.batch_rows[i].value()) rows[py::int_(i)] = count;
  }
  py::dict made;
  made["success"] = stats.success.value();
  made["rows"] = stats.rows.value();
  made["executions"] = stats.executions.value();
  made["failure"] = ByName(stats.failures, kFailureReasonNames);
  made["close_reasons"] = ByName(stats.closes, kCloseReasonNames);
  made["batch_rows"] = rows;
  made["queue_depth"] = servable.queue_depth();
  made["load"] = servable.busy_share();
  made["expected_wait_ns"] = servable.ExpectedWait();
  made["instances"] = servable.instance_count();
  made["caller_runs"] = stats.caller_runs.value();
  made["receive_ns"] = Durations(stats.receive);
  made["queue_ns"] = Durations(stats.queue);
  made["stage_ns"] = Durations(stats.stage);
  made["run_ns"] = Durations(stats.run);
  made["finish_ns"] = Durations(stats.finish);
  made["send_ns"] = Durations(stats.send);
  made["request_ns"] = Durations(stats.request);
  return made;
}

std::shared_ptr<Departure> DepartureOf(const ServableHandle& servable) {
  return servable == nullptr ? nullptr : servable->departure();
}

// Sleeps until `done(deadline)` or the timeout; a signal's handler may raise meanwhile. No frame
// above may be noexcept (GilPause).
template <typename Done>
bool WaitWithoutGil(std::optional<double> timeout_s, Done done) {
  constexpr Nanos kSlice = 50 * kMillisecond;
  constexpr double kTimeoutMaxS = 1e9;
  const double seconds = std::clamp(timeout_s.value_or(kTimeoutMaxS), 0.0, kTimeoutMaxS);
  const Nanos end = NowNanos() + static_cast<Nanos>(seconds * static_cast<double>(kSecond));
  while (true) {
    const Nanos now = NowNanos();
    GilPause pause;
    const bool is_done = done(std::min(end, now + kSlice));
    pause.Resume();
    if (is_done) return true;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (now >= end) return false;
  }
}

bool Reap(double timeout_s) { return WaitWithoutGil(timeout_s, &Reaper::WaitForAllUntil); }

}  // namespace

void RegisterServables(py::module_& module) {
  py::class_<Servable, std::shared_ptr<Servable>>(module, "Servable", py::is_final())
      .def(py::init(&MakeServable), py::arg("model"), py::kw_only(), py::arg("name"),
           py::arg("version"), py::arg("inputs"), py::arg("outputs"), py::arg("max_batch_size") = 0,
           py::arg("max_queue_delay_ns") = 0,
           py::arg("preferred_batch_sizes") = std::vector<int64_t>(), py::arg("instance_count") = 1,
           py::arg("queue_depth") = 1024, py::arg("caller_runs") = "auto",
           py::arg("join_requests") = true)
      .def_property_readonly("name", [](const Servable& servable) { return servable.name(); })
      .def_property_readonly("version", &Servable::version)
      .def("warm_up", &WarmUp, py::arg("sizes") = "powers", py::kw_only(),
           py::arg("gently") = false)
      .def("warm_up_with", &WarmUpWith, py::arg("inputs"), py::kw_only(), py::arg("rows") = 1,
           py::arg("count") = 1, py::arg("gently") = false)
      .def("end_waiting", &Servable::EndWaiting, py::call_guard<py::gil_scoped_release>())
      // The engine, for another servable of it.
      .def_property_readonly("model",
                             [](const Servable& servable) { return Model{servable.backend()}; })
      .def("stats", &StatsOf);
  py::class_<ServingMap, std::shared_ptr<ServingMap>>(module, "ServingMap", py::is_final())
      .def(py::init<>())
      .def(
          "publish",
          [](ServingMap& map, std::shared_ptr<Servable> servable) {
            return DepartureOf(map.Publish(std::move(servable)));
          },
          py::call_guard<py::gil_scoped_release>())
      .def(
          "route",
          [](ServingMap& map, const std::string& name, std::map<std::string, int64_t> labels,
             std::optional<int64_t> default_version) {
            Check(WithoutGil([&] { return map.Route(name, std::move(labels), default_version); }));
          },
          py::arg("name"), py::arg("labels"), py::arg("default"))
      .def(
          "retire",
          [](ServingMap& map, const std::string& name, int64_t version) {
            return DepartureOf(Take(WithoutGil([&] { return map.Retire(name, version); })));
          },
          py::arg("name"), py::arg("version"));
  py::class_<Departure, std::shared_ptr<Departure>>(module, "Departure", py::is_final())
      .def_property_readonly("is_gone", &Departure::is_gone)
      .def(
          "wait",
          [](Departure& departure, std::optional<double> timeout_s) {
            return WaitWithoutGil(timeout_s,
                                  [&](Nanos deadline) { return departure.WaitUntil(deadline); });
          },
          py::arg("timeout_s") = py::none());
  module.def("reap", &Reap, py::arg("timeout_s"));
}

}  // namespace fastserve::bind
