#include "protocol/grpc/typed_contents.h"

#include <array>
#include <cstring>
#include <limits>
#include <protozero/pbf_reader.hpp>
#include <type_traits>
#include <utility>

namespace fastserve {
namespace {

constexpr std::array<std::string_view, 9> kFieldNames = {"",
                                                         "bool_contents",
                                                         "int_contents",
                                                         "int64_contents",
                                                         "uint_contents",
                                                         "uint64_contents",
                                                         "fp32_contents",
                                                         "fp64_contents",
                                                         "bytes_contents"};
constexpr uint32_t kBytesContents = 8;

// The field that elements of a type come in; 0: they come raw only.
uint32_t FieldOf(DataType type) {
  switch (type) {
    case DataType::kBool:
      return 1;
    case DataType::kInt8:
    case DataType::kInt16:
    case DataType::kInt32:
      return 2;
    case DataType::kInt64:
      return 3;
    case DataType::kUint8:
    case DataType::kUint16:
    case DataType::kUint32:
      return 4;
    case DataType::kUint64:
      return 5;
    case DataType::kFp32:
      return 6;
    case DataType::kFp64:
      return 7;
    case DataType::kBytes:
      return kBytesContents;
    case DataType::kFp16:
    case DataType::kBf16:
      break;
  }
  return 0;
}

std::string_view View(protozero::data_view view) { return {view.data(), view.size()}; }

Status WrongCount(std::string_view name, const Tensor& tensor, std::string_view what) {
  return InvalidArgument("tensor '", name, "': shape ", tensor.shape.ToString(), " takes ",
                         *tensor.shape.Elements(), " elements, but ", what, " are in its contents");
}

// Elements of one size, written one behind the other.
class ElementReader {
 public:
  ElementReader(std::string_view name, const Tensor& tensor, std::span<std::byte> to)
      : name_(name), tensor_(tensor), to_(to) {}

  size_t count() const { return count_; }

  template <typename Element>
  Status Add(Element element) {
    if (sizeof(Element) * (count_ + 1) > to_.size()) {
      return WrongCount(name_, tensor_, StrCat("more than ", count_));
    }
    std::memcpy(to_.data() + sizeof(Element) * count_++, &element, sizeof(Element));
    return {};
  }

  // What protobuf carries as a wider integer.
  template <typename Element, typename Wide>
  Status AddNarrow(Wide value) {
    if (std::in_range<Element>(value)) return Add(static_cast<Element>(value));
    return InvalidArgument("tensor '", name_, "': element ", count_, " is ", value,
                           ", expected one that ", DataTypeName(tensor_.type), " can hold");
  }

  Status AddVarint(uint64_t value) {
    switch (tensor_.type) {
      case DataType::kBool:
        return Add<uint8_t>(value != 0);
      case DataType::kInt8:
        return AddNarrow<int8_t>(static_cast<int32_t>(value));
      case DataType::kInt16:
        return AddNarrow<int16_t>(static_cast<int32_t>(value));
      case DataType::kInt32:
        return Add(static_cast<int32_t>(value));
      case DataType::kUint8:
        return AddNarrow<uint8_t>(static_cast<uint32_t>(value));
      case DataType::kUint16:
        return AddNarrow<uint16_t>(static_cast<uint32_t>(value));
      case DataType::kUint32:
        return Add(static_cast<uint32_t>(value));
      default:
        return Add(value);
    }
  }

  // Packed: one field has all elements. FP32 and FP64 lie there as they do in a tensor.
  Status AddPacked(std::string_view bytes) {
    if (tensor_.type != DataType::kFp32 && tensor_.type != DataType::kFp64) {
      const char* at = bytes.data();
      const char* const end = at + bytes.size();
      while (at < end) FS_RETURN_IF_ERROR(AddVarint(protozero::decode_varint(&at, end)));
      return {};
    }
    const size_t element = ElementBytes(tensor_.type);
    if (bytes.size() % element != 0) {
      return InvalidArgument("tensor '", name_, "': its contents end within an element");
    }
    if (bytes.empty()) return {};
    if (bytes.size() > to_.size() - element * count_) {
      return WrongCount(name_, tensor_, StrCat("at least ", count_ + bytes.size() / element));
    }
    std::memcpy(to_.data() + element * count_, bytes.data(), bytes.size());
    count_ += bytes.size() / element;
    return {};
  }

 private:
  const std::string_view name_;
  const Tensor& tensor_;
  const std::span<std::byte> to_;
  size_t count_ = 0;
};

// Calls `visit` with the reader at each field of that number; others of this message are another
// type's.
template <typename Visit>
Status ForEach(std::string_view name, DataType type, std::span<const std::string_view> contents,
               Visit&& visit) {
  const uint32_t field = FieldOf(type);
  for (const std::string_view message : contents) {
    protozero::pbf_reader reader(message.data(), message.size());
    while (reader.next()) {
      if (reader.tag() == field) {
        FS_RETURN_IF_ERROR(visit(reader));
      } else if (reader.tag() < kFieldNames.size()) {
        return InvalidArgument("tensor '", name, "': ", DataTypeName(type), " elements come in ",
                               kFieldNames[field], ", received ", kFieldNames[reader.tag()]);
      } else {
        reader.skip();
      }
    }
  }
  return {};
}

Status ReadElement(protozero::pbf_reader& reader, ElementReader* elements) {
  switch (reader.wire_type()) {
    case protozero::pbf_wire_type::length_delimited:
      return elements->AddPacked(View(reader.get_view()));
    case protozero::pbf_wire_type::varint:
      return elements->AddVarint(reader.get_uint64());
    case protozero::pbf_wire_type::fixed32:
      return elements->Add(reader.get_fixed32());
    case protozero::pbf_wire_type::fixed64:
      return elements->Add(reader.get_fixed64());
    default:
      reader.skip();
      return {};
  }
}

// Whether elements of the type come one by one in fields of that kind.
bool Suits(DataType type, protozero::pbf_wire_type wire) {
  switch (wire) {
    case protozero::pbf_wire_type::varint:
      return type != DataType::kFp32 && type != DataType::kFp64;
    case protozero::pbf_wire_type::fixed32:
      return type == DataType::kFp32;
    case protozero::pbf_wire_type::fixed64:
      return type == DataType::kFp64;
    default:
      return wire == protozero::pbf_wire_type::length_delimited;
  }
}

// A shape may claim what no memory holds: only as much is allocated as the contents can fill.
bool CanHold(std::span<const std::string_view> contents, DataType type, uint64_t elements) {
  size_t bytes = 0;
  for (const std::string_view message : contents) bytes += message.size();
  const bool is_fixed = type == DataType::kFp32 || type == DataType::kFp64;
  return elements <= bytes / (is_fixed ? ElementBytes(type) : 1);
}

Status NoMemory(std::string_view name) {
  return ResourceExhausted("no memory for tensor '", name, "', try again later");
}

Status ReadNumbers(std::string_view name, std::span<const std::string_view> contents,
                   TensorAllocator& allocator, Tensor* tensor) {
  const auto expected = static_cast<uint64_t>(*tensor->shape.Elements());
  if (!CanHold(contents, tensor->type, expected)) {
    return WrongCount(name, *tensor, "fewer");
  }
  std::span<std::byte> to;
  if (expected > 0) {
    to = allocator.Allocate(expected * ElementBytes(tensor->type));
    if (to.empty()) return NoMemory(name);
  }
  ElementReader elements(name, *tensor, to);
  FS_RETURN_IF_ERROR(ForEach(name, tensor->type, contents, [&](protozero::pbf_reader& reader) {
    if (Suits(tensor->type, reader.wire_type())) return ReadElement(reader, &elements);
    reader.skip();
    return Status();
  }));
  if (elements.count() != expected)
    return WrongCount(name, *tensor, StrCat("only ", elements.count()));
  tensor->bytes = to;
  return {};
}

Status ReadBytes(std::string_view name, std::span<const std::string_view> contents,
                 TensorAllocator& allocator, Tensor* tensor) {
  constexpr size_t kLengthBytes = sizeof(uint32_t);
  const auto expected = static_cast<uint64_t>(*tensor->shape.Elements());
  const auto each = [&](auto&& take) {
    return ForEach(name, tensor->type, contents, [&](protozero::pbf_reader& reader) {
      if (reader.wire_type() == protozero::pbf_wire_type::length_delimited) {
        take(View(reader.get_view()));
      } else {
        reader.skip();
      }
      return Status();
    });
  };
  size_t count = 0;
  size_t bytes = 0;
  FS_RETURN_IF_ERROR(each([&](std::string_view element) {
    ++count;
    bytes += kLengthBytes + element.size();
  }));
  if (count != expected) return WrongCount(name, *tensor, StrCat(count));
  if (count == 0) return {};
  const std::span<std::byte> to = allocator.Allocate(bytes);
  if (to.empty()) return NoMemory(name);
  std::byte* at = to.data();
  FS_RETURN_IF_ERROR(each([&](std::string_view element) {
    const auto length = static_cast<uint32_t>(element.size());  // A message is below 4 GiB.
    std::memcpy(at, &length, kLengthBytes);
    at += kLengthBytes;
    if (!element.empty()) std::memcpy(at, element.data(), element.size());
    at += element.size();
  }));
  tensor->bytes = to;
  return {};
}

}  // namespace

Status ReadTypedContents(std::string_view name, std::span<const std::string_view> contents,
                         TensorAllocator& allocator, Tensor* tensor) {
  if (FieldOf(tensor->type) == 0) {
    return InvalidArgument("tensor '", name, "': ", DataTypeName(tensor->type),
                           " elements come in raw_input_contents alone");
  }
  if (tensor->type == DataType::kBytes) return ReadBytes(name, contents, allocator, tensor);
  return ReadNumbers(name, contents, allocator, tensor);
}

}  // namespace fastserve
