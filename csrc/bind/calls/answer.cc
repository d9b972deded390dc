#include "bind/calls/answer.h"

#include <utility>

#include "bind/arrays/bytes_elements.h"
#include "bind/arrays/numpy_arrays.h"
#include "bind/arrays/raising.h"
#include "bind/buffer_object.h"
#include "bind/calls/caller_object.h"

namespace fastserve::bind {
namespace {

bool Overlap(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.data() < b.data() + b.size() && b.data() < a.data() + a.size();
}

bool AliasesAnInput(const Call& call, const Tensor& tensor) {
  for (const BatchInput& input : call.request.inputs) {
    if (input.present && Overlap(input.tensor.bytes, tensor.bytes)) return true;
  }
  return false;
}

PyObject* ArrayOf(const Numpy& numpy, const Call& call, ResponseOutput& output) {
  const Tensor& tensor = output.tensor;
  if (tensor.type == DataType::kBytes) return StringsOf(numpy, tensor);
  const bool is_writeable = !AliasesAnInput(call, tensor);
  const std::span bytes(const_cast<std::byte*>(tensor.bytes.data()), tensor.bytes.size());
  PyObject* const base = NewBufferObject(bytes, std::move(output.owner), !is_writeable);
  return base == nullptr ? nullptr : numpy.NewView(tensor, is_writeable, base);
}

bool Put(const Numpy& numpy, const TensorNames& names, Call& call, size_t index, PyObject* answer) {
  ResponseOutput& output = call.outputs[call.servable->outputs()[index].index];
  PyObject* const array = ArrayOf(numpy, call, output);
  if (array == nullptr) return false;
  const bool is_put = PyDict_SetItem(answer, names.outputs[index], array) == 0;
  Py_DECREF(array);
  return is_put;
}

bool PutAll(const Numpy& numpy, const TensorNames& names, Call& call, PyObject* answer) {
  if (!call.wanted.empty()) {
    for (const uint32_t index : call.wanted) {
      if (!Put(numpy, names, call, index, answer)) return false;
    }
    return true;
  }
  for (size_t index = 0; index < call.servable->outputs().size(); ++index) {
    if (!Put(numpy, names, call, index, answer)) return false;
  }
  return true;
}

}  // namespace

PyObject* TakeAnswer(Call& call, Status* why) {
  if (call.end.ok() && call.responses != 1) {
    call.servable->stats().CountFailure(FailureReason::kInvalid);
    call.end = InvalidArgument("model '", call.servable->name(), "' gave ", call.responses,
                               " responses, but a call takes exactly one");
  }
  *why = std::move(call.end);
  if (!why->ok()) return nullptr;
  const Numpy* const numpy = Numpy::Get();
  if (numpy == nullptr) return nullptr;
  PyObject* const answer = PyDict_New();
  if (answer == nullptr) return nullptr;
  if (!PutAll(*numpy, *call.names, call, answer)) {
    Py_DECREF(answer);
    return nullptr;
  }
  const Nanos now = NowNanos();
  ServableStats& stats = call.servable->stats();
  const InferenceRequest& request = call.request;
  stats.receive.Record(request.submitted_ns - call.received_ns);
  stats.send.Record(now - request.computed_ns);
  stats.request.Record(now - request.submitted_ns);
  return answer;
}

}  // namespace fastserve::bind
