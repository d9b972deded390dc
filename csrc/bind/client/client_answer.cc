#include "bind/client/client_answer.h"

#include <cstring>
#include <string_view>
#include <type_traits>
#include <utility>

#include "bind/arrays/bytes_elements.h"
#include "bind/arrays/deferred.h"
#include "bind/arrays/held_memory.h"
#include "bind/arrays/numpy_arrays.h"
#include "bind/buffer_object.h"

namespace py = pybind11;

namespace fastserve::bind {
namespace {

py::object Steal(PyObject* object) {
  if (object == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(object);
}

// A server's bytes, UTF-8 or not.
py::object TextOf(std::string_view text) {
  return Steal(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

py::object ArrayOf(const Numpy& numpy, Tensor tensor, const OwnerOf& owner_of) {
  if (tensor.type == DataType::kBytes) return Steal(StringsOf(numpy, tensor));
  BufferRef owner = owner_of(tensor.bytes);
  const bool is_aligned =
      reinterpret_cast<uintptr_t>(tensor.bytes.data()) % ElementBytes(tensor.type) == 0;
  if (!is_aligned || !owner) {
    owner = NewMemory(tensor.bytes.size());
    if (!tensor.bytes.empty()) {
      std::memcpy(owner->data(), tensor.bytes.data(), tensor.bytes.size());
    }
    tensor.bytes = owner->bytes();
  }
  const std::span bytes(const_cast<std::byte*>(tensor.bytes.data()), tensor.bytes.size());
  PyObject* const base = NewBufferObject(bytes, std::move(owner), /*is_readonly=*/false);
  if (base == nullptr) throw py::error_already_set();
  return Steal(numpy.NewView(tensor, /*is_writeable=*/true, base));
}

py::object ValueOf(const InferParameter& parameter) {
  return std::visit(
      [](const auto& value) -> py::object {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, std::string_view>) return TextOf(value);
        return py::cast(value);
      },
      parameter.value);
}

}  // namespace

py::tuple AnswerOf(const InferBody& answer, const OwnerOf& owner_of) {
  const Numpy* const numpy = Numpy::Get();
  if (numpy == nullptr) throw py::error_already_set();
  py::dict outputs;
  for (const InferInput& output : answer.inputs) {
    outputs[TextOf(output.name)] = ArrayOf(*numpy, output.tensor, owner_of);
  }
  py::dict parameters;
  for (const InferParameter& parameter : answer.parameters) {
    parameters[TextOf(parameter.name)] = ValueOf(parameter);
  }
  return py::make_tuple(TextOf(answer.model_name), TextOf(answer.model_version), TextOf(answer.id),
                        outputs, parameters);
}

py::list TakeParts(Http2Output* output) {
  py::list parts;
  for (const OutputPart& part : output->parts()) {
    if (!part.owner) {
      parts.append(py::bytes(part.bytes.data(), part.bytes.size()));
      continue;
    }
    auto* const bytes = reinterpret_cast<std::byte*>(const_cast<char*>(part.bytes.data()));
    parts.append(Steal(NewBufferObject({bytes, part.bytes.size()}, part.owner, true)));
  }
  const GilHeld held;  // It may be memory of Python's.
  output->Clear();
  return parts;
}

}  // namespace fastserve::bind
