#include <pybind11/stl.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "backends/identity/identity_backend.h"
#include "backends/onnxruntime/onnxruntime_backend.h"
#include "bind/errors.h"
#include "bind/model.h"
#include "bind/register.h"
#include "bind/without_gil.h"
#include "serving/batching_probe.h"

namespace py = pybind11;

namespace fastserve::bind {
namespace {

using Providers = std::vector<std::pair<std::string, std::map<std::string, std::string>>>;

TensorSpec MakeSpec(std::string name, const std::string& datatype,
                    const std::vector<int64_t>& shape, bool optional,
                    std::vector<std::string> labels) {
  const std::optional<DataType> type = ParseDataType(datatype);
  if (!type) Check(InvalidArgument("'", name, "': there is no datatype '", datatype, "'"));
  if (shape.size() > Shape::kMaxRank) {
    Check(InvalidArgument("'", name, "' has ", shape.size(), " dimensions, at most ",
                          Shape::kMaxRank, " are possible"));
  }
  for (const int64_t dim : shape) {
    if (dim < -1) Check(InvalidArgument("'", name, "' has a dimension of ", dim));
  }
  return {std::move(name), *type, Shape(shape), {}, optional, std::move(labels)};
}

std::vector<int64_t> ShapeOf(const TensorSpec& spec) {
  const auto dims = spec.shape.dims();
  return {dims.begin(), dims.end()};
}

std::vector<OnnxRuntimeProvider> MakeProviders(const Providers& providers) {
  std::vector<OnnxRuntimeProvider> made;
  for (const auto& [name, options] : providers) {
    made.push_back({name, {options.begin(), options.end()}});
  }
  return made;
}

Model OpenOnnx(std::string path, std::string library, int intra_op_threads, int inter_op_threads,
               std::string optimization, bool spinning, const Providers& providers, bool gently) {
  OnnxRuntimeOptions options;
  options.model_path = std::move(path);
  options.library_path = std::move(library);
  options.intra_op_threads = intra_op_threads;
  options.inter_op_threads = inter_op_threads;
  options.optimization = std::move(optimization);
  options.spinning = spinning;
  options.providers = MakeProviders(providers);
  return {Take(WithoutGil([&] { return OpenOnnxRuntime(options); }, gently))};
}

int64_t Parameter(const std::map<std::string, std::string>& parameters, const std::string& name,
                  int64_t otherwise, int64_t largest) {
  const auto found = parameters.find(name);
  if (found == parameters.end()) return otherwise;
  const std::string& text = found->second;
  const bool is_decimal =
      !text.empty() && text.size() < 18 && text.find_first_not_of("0123456789") == text.npos;
  if (!is_decimal || std::stoll(text) > largest) {
    Check(InvalidArgument("parameter '", name, "' is '", text, "', expected an integer from 0 to ",
                          largest));
  }
  return std::stoll(text);
}

Model OpenIdentityModel(const std::vector<TensorSpec>& inputs,
                        const std::vector<TensorSpec>& outputs,
                        const std::map<std::string, std::string>& parameters) {
  IdentityOptions options;
  options.inputs = inputs;
  options.outputs = outputs;
  options.delay_us = Parameter(parameters, "delay_us", 0, 60'000'000);
  options.repeat = static_cast<int>(Parameter(parameters, "repeat", 1, 1'000'000));
  return {Take(OpenIdentity(std::move(options)))};
}

std::pair<bool, std::string> Probe(const Model& model, uint64_t seed, bool gently) {
  BatchingVerdict verdict = WithoutGil([&] { return ProbeBatching(*model.backend, seed); }, gently);
  return {verdict.rows_are_independent, std::move(verdict.why)};
}

}  // namespace

void RegisterModels(py::module_& module) {
  py::class_<TensorSpec>(module, "TensorSpec", py::is_final())
      .def(py::init(&MakeSpec), py::arg("name"), py::arg("datatype"), py::arg("shape"),
           py::kw_only(), py::arg("optional") = false,
           py::arg("labels") = std::vector<std::string>())
      .def_readonly("name", &TensorSpec::name)
      .def_property_readonly(
          "datatype", [](const TensorSpec& spec) { return std::string(DataTypeName(spec.type)); })
      .def_property_readonly("shape", &ShapeOf)
      .def_readonly("dim_names", &TensorSpec::dim_names)
      .def_readonly("optional", &TensorSpec::optional);
  py::class_<Model>(module, "Model", py::is_final())
      .def_property_readonly("platform",
                             [](const Model& model) { return model.backend->signature().platform; })
      .def_property_readonly("inputs",
                             [](const Model& model) { return model.backend->signature().inputs; })
      .def_property_readonly("outputs",
                             [](const Model& model) { return model.backend->signature().outputs; })
      .def("probe_batching", &Probe, py::arg("seed") = 0, py::kw_only(), py::arg("gently") = false);
  module.def("open_onnxruntime", &OpenOnnx, py::arg("path"), py::kw_only(), py::arg("library"),
             py::arg("intra_op_threads") = 1, py::arg("inter_op_threads") = 1,
             py::arg("optimization") = "all", py::arg("spinning") = false,
             py::arg("providers") = Providers(), py::arg("gently") = false);
  module.def("open_identity", &OpenIdentityModel, py::arg("inputs"), py::arg("outputs"),
             py::kw_only(), py::arg("parameters") = std::map<std::string, std::string>());
}

}  // namespace fastserve::bind
