#include "bind/shm/shm_response.h"

#include <utility>
#include <vector>

#include "bind/arrays/bytes_elements.h"
#include "bind/buffer_object.h"
#include "bind/errors.h"
#include "bind/shm/shm_text.h"

namespace py = pybind11;

namespace fastserve::bind {

py::object ArrayOf(const Numpy& numpy, std::string_view name, Tensor tensor, BufferRef owner) {
  if (tensor.type == DataType::kBytes) {
    const std::vector<std::byte> copy(tensor.bytes.begin(), tensor.bytes.end());
    tensor.bytes = copy;
    Check(ValidateTensor(name, tensor));
    return Steal(StringsOf(numpy, tensor));
  }
  const std::span bytes(const_cast<std::byte*>(tensor.bytes.data()), tensor.bytes.size());
  PyObject* const base = NewBufferObject(bytes, std::move(owner), /*is_readonly=*/false);
  if (base == nullptr) throw py::error_already_set();
  return Steal(numpy.NewView(tensor, /*is_writeable=*/true, base));
}

py::tuple AnswerOf(const Numpy& numpy, ChannelResponse response) {
  const ChannelMessage& message = response.message;
  py::dict outputs;
  for (size_t i = 0; i < message.tensors.size(); ++i) {
    const ChannelTensor& said = message.tensors[i];
    ChannelResponse::Output& output = response.outputs[i];
    const Tensor tensor{.type = said.type, .shape = said.shape, .bytes = output.bytes};
    outputs[StrOf(said.name)] = ArrayOf(numpy, said.name, tensor, std::move(output.owner));
  }
  return py::make_tuple(StrOf(message.model), StrOf(message.version), StrOf(message.id), outputs);
}

}  // namespace fastserve::bind
