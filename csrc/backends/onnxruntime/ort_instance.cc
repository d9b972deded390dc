#include "backends/onnxruntime/ort_instance.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "backends/onnxruntime/ort_signature.h"

namespace fastserve::ort {
namespace {

// What an empty tensor points at, since the engine refuses null.
alignas(64) std::byte kNothing[64];

// As the engine's kernels like it.
constexpr uintptr_t kPlaceAlignment = 64;

// An output in the engine's memory, and what must outlive it.
struct OutputBuffer : Buffer {
  OutputBuffer(std::byte* data, size_t size, OrtValue* value,
               std::shared_ptr<const Session> session, BufferRef input)
      : Buffer(data, size, &OutputBuffer::Destroy),
        session(std::move(session)),
        input(std::move(input)),
        value(value, this->session->library.api.ReleaseValue) {}

  static void Destroy(Buffer* buffer) { delete static_cast<OutputBuffer*>(buffer); }

  // Destroyed in reverse order: the value goes first.
  std::shared_ptr<const Session> session;
  BufferRef input;
  Owned<OrtValue> value;
};

// The owner of the input that holds `data`; empty when none does.
BufferRef OwnerOf(const void* data, std::span<const BatchInput> inputs) {
  const auto address = reinterpret_cast<uintptr_t>(data);
  for (const BatchInput& input : inputs) {
    const auto begin = reinterpret_cast<uintptr_t>(input.tensor.bytes.data());
    if (input.present && address - begin < input.tensor.bytes.size()) return input.owner;
  }
  return {};
}

}  // namespace

OrtInstance::OrtInstance(std::shared_ptr<const Session> session)
    : session_(std::move(session)), api_(session_->library.api), kept_(*session_) {
  input_names_.reserve(session_->signature.inputs.size());
  input_values_.reserve(session_->signature.inputs.size());
  output_values_.reserve(session_->signature.outputs.size());
}

OrtInstance::~OrtInstance() {
  ReleaseValues(input_values_);
  ReleaseValues(output_values_);
}

Status OrtInstance::Run(std::span<const BatchInput> inputs, int64_t rows, OutputSink& outputs) {
  if (kept_.Run(inputs, outputs)) return {};
  Status status = WrapInputs(inputs);
  if (status.ok()) status = ComputeInPlaces(rows, outputs);
  ReleaseValues(input_values_);
  if (status.ok()) kept_.Learn(inputs, output_values_);
  for (size_t i = 0; status.ok() && i < output_values_.size(); ++i) {
    status = Emit(i, inputs, outputs);
  }
  ReleaseValues(output_values_);
  places_.clear();
  if (status.ok()) outputs.EndResponse();
  return status;
}

Status OrtInstance::WrapInputs(std::span<const BatchInput> inputs) {
  const std::vector<TensorSpec>& specs = session_->signature.inputs;
  FS_CHECK_OP(inputs.size(), ==, specs.size());
  input_names_.clear();
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].present) continue;
    const Tensor& tensor = inputs[i].tensor;
    input_names_.push_back(specs[i].name.c_str());
    if (tensor.type == DataType::kBytes) {
      FS_RETURN_IF_ERROR(WrapStrings(specs[i], tensor));
      continue;
    }
    // The engine does not write to its inputs; its slot merely serves outputs as well.
    void* data = tensor.bytes.empty() ? kNothing : const_cast<std::byte*>(tensor.bytes.data());
    OrtValue* value = nullptr;
    FS_RETURN_IF_ERROR(Take(api_.CreateTensorWithDataAsOrtValue(
        session_->library.cpu_memory, data, tensor.bytes.size(), tensor.shape.dims().data(),
        tensor.shape.rank(), OrtTypeOf(tensor.type), &value)));
    input_values_.push_back(value);
  }
  return {};
}

Status OrtInstance::WrapStrings(const TensorSpec& spec, const Tensor& tensor) {
  OrtValue* value = nullptr;
  FS_RETURN_IF_ERROR(
      Take(api_.CreateTensorAsOrtValue(session_->library.allocator, tensor.shape.dims().data(),
                                       tensor.shape.rank(), OrtTypeOf(DataType::kBytes), &value)));
  input_values_.push_back(value);
  const size_t elements = static_cast<size_t>(tensor.shape.Elements().value_or(0));
  std::span<const std::byte> rest = tensor.bytes;
  for (size_t i = 0; i < elements; ++i) {
    // Checked again although the request was: shared memory may have changed since.
    uint32_t length = 0;
    if (rest.size() >= sizeof length) std::memcpy(&length, rest.data(), sizeof length);
    if (rest.size() < sizeof length || rest.size() - sizeof length < length) {
      return InvalidArgument("input '", spec.name, "': BYTES element ", i, " of ", elements,
                             " goes beyond the tensor's end");
    }
    char* text = nullptr;
    FS_RETURN_IF_ERROR(Take(api_.GetResizedStringTensorElementBuffer(value, i, length, &text)));
    if (length > 0) std::memcpy(text, rest.data() + sizeof length, length);
    rest = rest.subspan(sizeof length + length);
  }
  return {};
}

Status OrtInstance::ComputeInPlaces(int64_t rows, OutputSink& outputs) {
  output_values_.assign(session_->output_names.size(), nullptr);
  places_.resize(output_values_.size());
  FS_RETURN_IF_ERROR(BindPlaces(rows, outputs));
  const bool is_placed = std::ranges::any_of(output_values_, [](auto* value) { return value; });
  Status status = Compute();
  if (status.ok() || !is_placed) return status;
  // An output may have another shape than the signature lets expect: then the engine refuses the
  // place. Whatever else was wrong is wrong again.
  ReleaseValues(output_values_);
  output_values_.assign(session_->output_names.size(), nullptr);
  places_.assign(output_values_.size(), {});
  status = Compute();
  if (status.ok()) may_place_ = false;
  return status;
}

Status OrtInstance::BindPlaces(int64_t rows, OutputSink& outputs) {
  if (!may_place_ || !session_->is_on_the_cpu) return {};
  const std::vector<TensorSpec>& specs = session_->signature.outputs;
  for (size_t i = 0; i < specs.size(); ++i) {
    OutputPlace place = outputs.PlaceFor(i);
    if (place.bytes.empty() || specs[i].type == DataType::kBytes) continue;
    Shape shape = specs[i].shape;
    if (shape.rank() > 0 && shape[0] < 0) shape.Set(0, rows);
    const std::optional<int64_t> elements = shape.Elements();
    if (!elements) continue;  // Of unknown length.
    const size_t element_bytes = ElementBytes(specs[i].type);
    if (static_cast<size_t>(*elements) > place.bytes.size() / element_bytes) continue;
    const size_t bytes = static_cast<size_t>(*elements) * element_bytes;
    if (bytes <= BoundRun::kBytesMax) continue;  // Copied, as KeptRun will do.
    if (reinterpret_cast<uintptr_t>(place.bytes.data()) % kPlaceAlignment != 0) continue;
    place.bytes = place.bytes.first(bytes);
    FS_RETURN_IF_ERROR(BindPlace(i, shape, std::move(place)));
  }
  return {};
}

Status OrtInstance::BindPlace(size_t index, const Shape& shape, OutputPlace place) {
  FS_RETURN_IF_ERROR(Take(api_.CreateTensorWithDataAsOrtValue(
      session_->library.cpu_memory, place.bytes.data(), place.bytes.size(), shape.dims().data(),
      shape.rank(), OrtTypeOf(session_->signature.outputs[index].type), &output_values_[index])));
  places_[index] = std::move(place);
  return {};
}

Status OrtInstance::Compute() {
  return Take(api_.Run(session_->handle.get(), session_->run_options.get(), input_names_.data(),
                       input_values_.data(), input_values_.size(), session_->output_names.data(),
                       session_->output_names.size(), output_values_.data()));
}

Status OrtInstance::Emit(size_t index, std::span<const BatchInput> inputs, OutputSink& outputs) {
  Tensor tensor;
  FS_RETURN_IF_ERROR(session_->Describe(index, output_values_[index], tensor));
  if (tensor.type == DataType::kBytes) return EmitStrings(index, tensor, outputs);
  void* data = nullptr;
  FS_RETURN_IF_ERROR(Take(api_.GetTensorMutableData(output_values_[index], &data)));
  const size_t bytes =
      static_cast<size_t>(tensor.shape.Elements().value_or(0)) * ElementBytes(tensor.type);
  tensor.bytes = {static_cast<const std::byte*>(data), bytes};
  if (places_[index].bytes.data() == data) {
    outputs.Add(index, tensor, std::move(places_[index].owner));
    return {};
  }
  auto* buffer = new OutputBuffer(static_cast<std::byte*>(data), bytes,
                                  std::exchange(output_values_[index], nullptr), session_,
                                  OwnerOf(data, inputs));
  outputs.Add(index, tensor, BufferRef::Adopt(buffer));
  return {};
}

Status OrtInstance::EmitStrings(size_t index, Tensor tensor, OutputSink& outputs) {
  const OrtValue* value = output_values_[index];
  const size_t elements = static_cast<size_t>(tensor.shape.Elements().value_or(0));
  size_t text_bytes = 0;
  FS_RETURN_IF_ERROR(Take(api_.GetStringTensorDataLength(value, &text_bytes)));
  const size_t bytes = text_bytes + elements * sizeof(uint32_t);
  BufferRef buffer = outputs.Allocate(bytes);
  if (!buffer) {
    return ResourceExhausted("no memory for output '", session_->signature.outputs[index].name,
                             "' of ", bytes, " bytes");
  }
  std::byte* to = buffer->data();
  for (size_t i = 0; i < elements; ++i) {
    size_t element_bytes = 0;
    FS_RETURN_IF_ERROR(Take(api_.GetStringTensorElementLength(value, i, &element_bytes)));
    if (element_bytes > std::numeric_limits<uint32_t>::max()) {
      return Internal("output '", session_->signature.outputs[index].name, "': element ", i,
                      " has ", element_bytes, " bytes, more than a BYTES length can say");
    }
    const auto length = static_cast<uint32_t>(element_bytes);
    std::memcpy(to, &length, sizeof length);
    to += sizeof length;
    FS_RETURN_IF_ERROR(Take(api_.GetStringTensorElement(value, element_bytes, i, to)));
    to += element_bytes;
  }
  tensor.bytes = {buffer->data(), bytes};
  outputs.Add(index, tensor, std::move(buffer));
  return {};
}

void OrtInstance::ReleaseValues(std::vector<OrtValue*>& values) {
  for (OrtValue* value : values) {
    if (value != nullptr) api_.ReleaseValue(value);
  }
  values.clear();
}

}  // namespace fastserve::ort
