#include "bind/shm/shm_signature.h"

#include <memory>

#include "bind/shm/shm_text.h"

namespace py = pybind11;

namespace fastserve::bind {
namespace {

// (name, datatype, shape, whether it may be left out) of each.
py::list TensorsOf(const std::vector<TensorSpec>& specs) {
  py::list tensors;
  for (const TensorSpec& spec : specs) {
    py::tuple shape(spec.shape.rank());
    for (size_t axis = 0; axis < spec.shape.rank(); ++axis) shape[axis] = spec.shape[axis];
    tensors.append(py::make_tuple(StrOf(spec.name), StrOf(DataTypeName(spec.type)), shape,
                                  py::bool_(spec.optional)));
  }
  return tensors;
}

}  // namespace

ShmSignature::ShmSignature(const ChannelDescription& description)
    : model(description.message.model),
      version(description.message.version),
      max_batch_size(description.message.max_batch_size) {
  for (const ChannelTensor& tensor : description.message.tensors) {
    TensorSpec spec{.name = std::string(tensor.name), .type = tensor.type, .shape = tensor.shape};
    spec.optional = (tensor.flags & ChannelTensor::kOptional) != 0;
    const bool is_output = (tensor.flags & ChannelTensor::kOutput) != 0;
    (is_output ? outputs : inputs).push_back(std::move(spec));
  }
}

Result<size_t> ShmSignature::FindInput(std::string_view name) const {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].name == name) return i;
  }
  std::string known;
  for (const TensorSpec& spec : inputs) known += (known.empty() ? "'" : ", '") + spec.name + "'";
  return InvalidArgument("model '", model, "' takes no input '", name, "', expected ",
                         known.empty() ? "none" : known);
}

void RegisterShmSignature(py::module_& module) {
  py::class_<ShmSignature, std::shared_ptr<ShmSignature>>(module, "ShmSignature", py::is_final())
      .def_property_readonly("model", [](const ShmSignature& self) { return StrOf(self.model); })
      .def_property_readonly("version",
                             [](const ShmSignature& self) { return StrOf(self.version); })
      .def_readonly("max_batch_size", &ShmSignature::max_batch_size)
      .def_property_readonly("inputs",
                             [](const ShmSignature& self) { return TensorsOf(self.inputs); })
      .def_property_readonly("outputs",
                             [](const ShmSignature& self) { return TensorsOf(self.outputs); });
}

}  // namespace fastserve::bind
