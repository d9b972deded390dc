#include "tensor/dlpack.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace fastserve {
namespace {

// Indexed by DataType; BYTES, the last one, has no counterpart.
constexpr std::array<DLDataType, kDataTypeCount - 1> kDlpackTypes = {{
    {kDLBool, 8, 1},
    {kDLUInt, 8, 1},
    {kDLUInt, 16, 1},
    {kDLUInt, 32, 1},
    {kDLUInt, 64, 1},
    {kDLInt, 8, 1},
    {kDLInt, 16, 1},
    {kDLInt, 32, 1},
    {kDLInt, 64, 1},
    {kDLFloat, 16, 1},
    {kDLFloat, 32, 1},
    {kDLFloat, 64, 1},
    {kDLBfloat, 16, 1},
}};
static_assert(static_cast<size_t>(DataType::kBytes) == kDlpackTypes.size());

// By the ABI's numbers; numbers that were never given out are empty.
constexpr std::array<std::string_view, 19> kDeviceNames = {
    "",
    "CPU",
    "CUDA",
    "pinned CUDA host",
    "OpenCL",
    "",
    "",
    "Vulkan",
    "Metal",
    "VPI",
    "ROCm",
    "pinned ROCm host",
    "an extension",
    "managed CUDA",
    "oneAPI",
    "WebGPU",
    "Hexagon",
    "MAIA",
    "Trainium",
};
constexpr std::array<std::string_view, 7> kCodeNames = {
    "int", "uint", "float", "an opaque handle", "bfloat", "complex", "bool",
};

template <size_t kCount>
std::string NameOf(const std::array<std::string_view, kCount>& names, int64_t number) {
  const bool listed = number >= 0 && static_cast<size_t>(number) < kCount;
  const std::string_view name = listed ? names[static_cast<size_t>(number)] : "";
  return name.empty() ? StrCat("number ", number) : std::string(name);
}

bool IsAligned(const void* data, DataType type) {
  return reinterpret_cast<uintptr_t>(data) % ElementBytes(type) == 0;
}

Status Misaligned(const void* data, DataType type) {
  return InvalidArgument("DLPack: the data of a tensor of ", DataTypeName(type), " is ",
                         reinterpret_cast<uintptr_t>(data) % ElementBytes(type),
                         " bytes past a multiple of ", ElementBytes(type), "; copy it");
}

// Export.

template <typename Managed>
struct Exported {
  Managed managed;  // Filled by Export and its callers.
  BufferRef owner;
  std::array<int64_t, Shape::kMaxRank> dims{};
  std::array<int64_t, Shape::kMaxRank> strides{};

  static void Delete(Managed* managed) { delete static_cast<Exported*>(managed->manager_ctx); }
};

Status CheckExport(const Tensor& tensor) {
  if (tensor.type == DataType::kBytes) {
    return InvalidArgument("DLPack has no type for BYTES, whose elements have any length");
  }
  FS_RETURN_IF_ERROR(ValidateTensor("DLPack export", tensor));
  if (!IsAligned(tensor.bytes.data(), tensor.type)) {
    return Misaligned(tensor.bytes.data(), tensor.type);
  }
  return {};
}

template <typename Managed>
Result<Managed*> Export(const Tensor& tensor, BufferRef owner) {
  FS_RETURN_IF_ERROR(CheckExport(tensor));
  auto* exported = new Exported<Managed>;
  exported->owner = std::move(owner);
  std::ranges::copy(tensor.shape.dims(), exported->dims.begin());
  int64_t stride = 1;
  for (size_t axis = tensor.shape.rank(); axis-- > 0;) {
    exported->strides[axis] = stride;
    // Only an empty tensor's strides can overflow, and nobody follows those.
    (void)__builtin_mul_overflow(stride, std::max<int64_t>(tensor.shape[axis], 1), &stride);
  }
  exported->managed.manager_ctx = exported;
  exported->managed.deleter = &Exported<Managed>::Delete;
  exported->managed.dl_tensor = {
      // The ABI knows no const: `read_only` is a flag. Empty tensors have no address there.
      .data = tensor.bytes.empty() ? nullptr : const_cast<std::byte*>(tensor.bytes.data()),
      .device = {kDLCPU, 0},
      .ndim = static_cast<int32_t>(tensor.shape.rank()),
      .dtype = kDlpackTypes[static_cast<size_t>(tensor.type)],
      .shape = exported->dims.data(),
      .strides = exported->strides.data(),
      .byte_offset = 0,
  };
  return &exported->managed;
}

// Import.

template <typename Managed>
struct Imported : Buffer {
  Imported(std::span<const std::byte> bytes, Managed* managed)
      : Buffer(const_cast<std::byte*>(bytes.data()), bytes.size(), &Imported::Destroy),
        managed(managed) {}

  static void Destroy(Buffer* buffer) {
    auto* imported = static_cast<Imported*>(buffer);
    if (imported->managed->deleter != nullptr) imported->managed->deleter(imported->managed);
    delete imported;
  }

  Managed* managed;
};

Result<DataType> ReadType(const DLDataType& dtype) {
  for (size_t i = 0; i < kDlpackTypes.size(); ++i) {
    const DLDataType& known = kDlpackTypes[i];
    if (dtype.code == known.code && dtype.bits == known.bits && dtype.lanes == known.lanes) {
      return static_cast<DataType>(i);
    }
  }
  return InvalidArgument("DLPack: elements are ", NameOf(kCodeNames, dtype.code), " of ",
                         static_cast<int>(dtype.bits), " bits in ", dtype.lanes,
                         " lanes, which the protocol cannot carry");
}

Result<Shape> ReadShape(const DLTensor& from) {
  if (from.ndim < 0 || static_cast<size_t>(from.ndim) > Shape::kMaxRank) {
    return InvalidArgument("DLPack: tensor has ", from.ndim, " dimensions, expected 0 to ",
                           Shape::kMaxRank);
  }
  if (from.ndim == 0) return Shape();
  if (from.shape == nullptr) {
    return InvalidArgument("DLPack: tensor has ", from.ndim, " dimensions, but its shape is null");
  }
  return Shape(std::span(from.shape, static_cast<size_t>(from.ndim)));
}

// `shape` holds `elements`, so that no product of its dimensions overflows unless one is 0.
Status CheckStrides(const DLTensor& from, const Shape& shape, int64_t elements) {
  if (from.strides == nullptr || elements == 0) return {};
  int64_t expected = 1;
  for (size_t axis = shape.rank(); axis-- > 0;) {
    if (shape[axis] != 1 && from.strides[axis] != expected) {
      return InvalidArgument("DLPack: tensor of shape ", shape.ToString(), " has strides ",
                             Shape(std::span(from.strides, shape.rank())).ToString(),
                             ", expected row-major order without gaps; copy it");
    }
    expected *= shape[axis];
  }
  return {};
}

// The bytes of a tensor, of which there is at least one.
Result<std::span<const std::byte>> Locate(const DLTensor& from, DataType type, uint64_t bytes) {
  if (from.data == nullptr) {
    return InvalidArgument("DLPack: data is null, expected ", bytes, " bytes");
  }
  const auto base = reinterpret_cast<uintptr_t>(from.data);
  uintptr_t begin = 0;
  uintptr_t end = 0;
  if (__builtin_add_overflow(base, from.byte_offset, &begin) ||
      __builtin_add_overflow(begin, bytes, &end)) {
    return InvalidArgument("DLPack: ", bytes, " bytes at byte_offset ", from.byte_offset,
                           " go beyond the end of memory");
  }
  const std::byte* data = static_cast<const std::byte*>(from.data) + from.byte_offset;
  if (!IsAligned(data, type)) return Misaligned(data, type);
  return std::span(data, bytes);
}

Result<Tensor> View(const DLTensor& from) {
  if (from.device.device_type != kDLCPU) {
    return InvalidArgument("DLPack: tensor is on device ",
                           NameOf(kDeviceNames, from.device.device_type), ":",
                           from.device.device_id, ", expected CPU; copy it to the host");
  }
  Result<DataType> type = ReadType(from.dtype);
  if (!type.ok()) return type.status();
  Result<Shape> shape = ReadShape(from);
  if (!shape.ok()) return shape.status();
  const std::optional<int64_t> elements = shape->Elements();
  int64_t bytes = 0;  // Signed: no object is larger than half of the address space.
  if (!elements || __builtin_mul_overflow(*elements, ElementBytes(*type), &bytes)) {
    return InvalidArgument("DLPack: shape ", shape->ToString(), " of ", DataTypeName(*type),
                           " has a negative dimension or too many elements");
  }
  FS_RETURN_IF_ERROR(CheckStrides(from, *shape, *elements));
  if (bytes == 0) return Tensor{*type, *shape, {}};
  Result<std::span<const std::byte>> located = Locate(from, *type, static_cast<uint64_t>(bytes));
  if (!located.ok()) return located.status();
  return Tensor{*type, *shape, *located};
}

template <typename Managed>
Result<DlpackTensor> Import(Managed* managed) {
  if (managed == nullptr) return InvalidArgument("DLPack: the managed tensor is null");
  if constexpr (std::is_same_v<Managed, DLManagedTensorVersioned>) {
    // First of all: with another major version the tensor itself may lie elsewhere.
    if (managed->version.major != kDlpackMajor) {
      return InvalidArgument("DLPack: tensor is of version ", managed->version.major, ".",
                             managed->version.minor, ", expected ", kDlpackMajor, ".x");
    }
  }
  Result<Tensor> tensor = View(managed->dl_tensor);
  if (!tensor.ok()) return tensor.status();
  BufferRef owner = BufferRef::Adopt(new Imported<Managed>(tensor->bytes, managed));
  return DlpackTensor{*std::move(tensor), std::move(owner)};
}

}  // namespace

Result<DLManagedTensorVersioned*> ToDlpack(const Tensor& tensor, BufferRef owner, bool read_only) {
  Result<DLManagedTensorVersioned*> managed =
      Export<DLManagedTensorVersioned>(tensor, std::move(owner));
  if (!managed.ok()) return managed;
  (*managed)->version = {kDlpackMajor, kDlpackMinor};
  (*managed)->flags = read_only ? kDlpackReadOnly : 0;
  return managed;
}

Result<DLManagedTensor*> ToDlpackLegacy(const Tensor& tensor, BufferRef owner) {
  return Export<DLManagedTensor>(tensor, std::move(owner));
}

Result<DlpackTensor> FromDlpack(DLManagedTensorVersioned* managed) { return Import(managed); }
Result<DlpackTensor> FromDlpack(DLManagedTensor* managed) { return Import(managed); }

}  // namespace fastserve
