#include "bind/arrays/bytes_elements.h"

#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "bind/arrays/held_memory.h"
#include "bind/arrays/raising.h"

namespace fastserve::bind {
namespace {

// The bytes of one element, which the element keeps alive. A null is numpy's way of saying None.
Status ReadElement(PyObject* element, size_t index, std::string_view name, std::string_view* text) {
  if (element != nullptr && PyUnicode_Check(element)) {
    Py_ssize_t size = 0;
    const char* const utf8 = PyUnicode_AsUTF8AndSize(element, &size);
    if (utf8 == nullptr) return PythonsError();
    *text = {utf8, static_cast<size_t>(size)};
  } else if (element != nullptr && PyBytes_Check(element)) {
    *text = {PyBytes_AS_STRING(element), static_cast<size_t>(PyBytes_GET_SIZE(element))};
  } else {
    return InvalidArgument("input '", name, "': element ", index, " is of type ",
                           element == nullptr ? "NoneType" : Py_TYPE(element)->tp_name,
                           ", expected str or bytes, because the model's input is BYTES");
  }
  if (text->size() <= UINT32_MAX) return {};
  return InvalidArgument("input '", name, "': element ", index, " has ", text->size(),
                         " bytes, expected less than 4 GiB");
}

Status Encode(const ArrayFields& array, NamedInput* input) {
  const std::span<PyObject* const> elements = ObjectsOf(array);
  std::vector<std::string_view> texts(elements.size());
  size_t bytes = 0;
  for (size_t i = 0; i < elements.size(); ++i) {
    FS_RETURN_IF_ERROR(ReadElement(elements[i], i, input->name, &texts[i]));
    bytes += sizeof(uint32_t) + texts[i].size();
  }
  input->owner = NewMemory(bytes);
  input->tensor.bytes = input->owner->bytes();
  std::byte* to = input->owner->data();
  for (const std::string_view text : texts) {
    const auto length = static_cast<uint32_t>(text.size());
    std::memcpy(to, &length, sizeof length);
    if (!text.empty()) std::memcpy(to + sizeof length, text.data(), text.size());
    to += sizeof length + text.size();
  }
  return {};
}

}  // namespace

Status ReadStrings(const Numpy& numpy, PyObject* value, NamedInput* input) {
  // Of S and U numpy makes bytes and str, without the zeros that fill them up.
  PyObject* const converted = numpy.Convert(value, numpy.DtypeOf(DataType::kBytes));
  if (converted == nullptr) return PythonsError();
  const auto& array = *reinterpret_cast<const ArrayFields*>(converted);
  Status status;
  if (static_cast<size_t>(array.rank) > Shape::kMaxRank) {
    status = InvalidArgument("input '", input->name, "' has ", array.rank,
                             " dimensions, expected at most ", Shape::kMaxRank);
  } else {
    input->tensor.type = DataType::kBytes;
    input->tensor.shape =
        Shape(std::span<const int64_t>(array.dims, static_cast<size_t>(array.rank)));
    status = Encode(array, input);
  }
  Py_DECREF(converted);
  return status;
}

PyObject* StringsOf(const Numpy& numpy, const Tensor& tensor) {
  PyObject* const made = numpy.NewObjectArray(tensor.shape);
  if (made == nullptr) return nullptr;
  const auto& array = *reinterpret_cast<const ArrayFields*>(made);
  const std::vector<std::string_view> texts = SplitBytesElements(tensor);
  auto* const elements = reinterpret_cast<PyObject**>(array.data);
  for (size_t i = 0; i < texts.size(); ++i) {
    PyObject* const text =
        PyBytes_FromStringAndSize(texts[i].data(), static_cast<Py_ssize_t>(texts[i].size()));
    if (text == nullptr) {
      Py_DECREF(made);
      return nullptr;
    }
    // numpy 1 fills a new array of objects with None, numpy 2 with null.
    Py_XSETREF(elements[i], text);
  }
  return made;
}

}  // namespace fastserve::bind
