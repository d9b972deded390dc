#include "bind/shm/shm_inputs.h"

#include <cstring>

#include "bind/arrays/deferred.h"
#include "bind/arrays/input_reader.h"
#include "bind/errors.h"
#include "bind/shm/shm_response.h"

namespace py = pybind11;

namespace fastserve::bind {
namespace {

// Others may run Python meanwhile: it takes longer than to give the GIL up and have it again.
constexpr size_t kLargeBytes = size_t{256} << 10;

void Copy(std::span<const std::byte> from, std::span<std::byte> to) {
  if (from.empty() || from.data() == to.data()) return;
  if (from.size() < kLargeBytes) {
    std::memmove(to.data(), from.data(), from.size());
    return;
  }
  GilPause pause;
  std::memmove(to.data(), from.data(), from.size());
  pause.Resume();
}

}  // namespace

py::object ShmInputs::Get(const Numpy& numpy, std::string_view name) const {
  const Input& input = inputs_[Take(signature_->FindInput(name))];
  if (!input.owner) return py::none();
  return ArrayOf(numpy, name, input.tensor, input.owner);
}

py::object ShmInputs::Allocate(const Numpy& numpy, std::string_view name, const Shape& shape) {
  const size_t index = Take(signature_->FindInput(name));
  const DataType type = signature_->inputs[index].type;
  Result<ChannelBytes> made = call_->AddInput(name, type, shape);
  Check(made.status());
  const Tensor tensor{.type = type, .shape = shape, .bytes = made->bytes};
  inputs_[index] = {.tensor = tensor, .owner = std::move(made->owner)};
  return Get(numpy, name);
}

Status ShmInputs::Assign(const Numpy& numpy, std::string_view name, PyObject* value,
                         bool is_given_up) {
  const Result<size_t> index = signature_->FindInput(name);
  if (!index.ok()) return index.status();
  const TensorSpec& spec = signature_->inputs[*index];
  NamedInput given{.name = spec.name, .tensor = {}, .owner = {}};
  Status status = ReadInput(numpy, value, spec, &given);
  if (status.ok()) {
    const Result<std::span<std::byte>> place = Place(*index, given.tensor, is_given_up);
    status = place.status();
    if (status.ok()) Copy(given.tensor.bytes, *place);
  }
  const GilHeld held;  // It may be memory of Python's.
  given.owner = {};
  return status;
}

Result<std::span<std::byte>> ShmInputs::Place(size_t index, const Tensor& tensor,
                                              bool is_given_up) {
  Input& input = inputs_[index];
  const size_t bytes = tensor.bytes.size();
  const bool fits = input.owner && input.tensor.type == tensor.type &&
                    input.tensor.shape == tensor.shape && input.tensor.bytes.size() == bytes;
  if (!fits) {
    Result<ChannelBytes> made =
        call_->AddInput(signature_->inputs[index].name, tensor.type, tensor.shape, bytes);
    if (!made.ok()) return std::move(made).status();
    input.tensor = {.type = tensor.type, .shape = tensor.shape, .bytes = made->bytes};
    input.owner = std::move(made->owner);
  } else if (!is_given_up && call_->is_under_way()) {
    return FailedPrecondition("the request is under way: take its result before its inputs change");
  }
  return input.owner->bytes().first(bytes);
}

}  // namespace fastserve::bind
