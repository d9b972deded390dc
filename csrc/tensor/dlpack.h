// DLPack: hands tensors to numpy, PyTorch, JAX or another engine, and takes theirs, without a copy.
//
// DLPack is a C ABI: a struct that says where the elements lie, and a deleter that its consumer
// calls once. The structs below are version 1's, under the ABI's own names; a Python object passes
// them around in a capsule, which is the affair of `bind`. The legacy struct, without version and
// flags, is what libraries from before 2024 speak.
//
//   Result<DLManagedTensorVersioned*> exported = ToDlpack(tensor, owner, /*read_only=*/true);
//   Result<DlpackTensor> imported = FromDlpack(*exported);  // The round trip; no byte has moved.
//   if (!imported.ok()) (*exported)->deleter(*exported);    // A refused tensor is still ours.
//
// Invariants:
//   1. An exported tensor keeps its owner until its deleter is called, and nothing longer.
//   2. An imported tensor's deleter is called once, by whoever drops its last BufferRef.
//   3. What is imported is never written to, whatever its flags and has_one_owner() say: the
//      producer may be reading.
// Threads: all functions from any. A deleter runs on whatever thread drops the last reference; one
// made by Python must itself take the GIL (numpy's does).
// Source: DLPack 1.1, include/dlpack/dlpack.h; exported strides are explicit, as from 1.2 on.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/status.h"
#include "tensor/buffer.h"
#include "tensor/tensor.h"

namespace fastserve {

inline constexpr uint32_t kDlpackMajor = 1;
inline constexpr uint32_t kDlpackMinor = 1;

struct DLPackVersion {
  uint32_t major;
  uint32_t minor;
};

// Any int32 may arrive, so the type is fixed and no value is trusted.
enum DLDeviceType : int32_t { kDLCPU = 1, kDLCUDA = 2, kDLCUDAHost = 3 };

struct DLDevice {
  DLDeviceType device_type;
  int32_t device_id;
};

enum DLDataTypeCode : uint8_t {
  kDLInt = 0,
  kDLUInt = 1,
  kDLFloat = 2,
  kDLBfloat = 4,
  kDLComplex = 5,
  kDLBool = 6,
};

struct DLDataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};

struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;  // In elements; null means row-major without gaps (before 1.2).
  uint64_t byte_offset;
};

struct DLManagedTensor {
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensor* self);  // Null when there is nothing to release.
};

inline constexpr uint64_t kDlpackReadOnly = 1U << 0U;
// The consumer is the only one that has these bytes.
inline constexpr uint64_t kDlpackIsCopied = 1U << 1U;

struct DLManagedTensorVersioned {
  // Up to `flags` every version, also a later major one, has the same layout: a consumer that does
  // not know the version can still call the deleter.
  DLPackVersion version;
  void* manager_ctx;
  void (*deleter)(DLManagedTensorVersioned* self);  // Null when there is nothing to release.
  uint64_t flags;
  DLTensor dl_tensor;
};

static_assert(sizeof(void*) == 8);
static_assert(sizeof(DLPackVersion) == 8);
static_assert(sizeof(DLDevice) == 8 && offsetof(DLDevice, device_id) == 4);
static_assert(sizeof(DLDataType) == 4 && offsetof(DLDataType, bits) == 1 &&
              offsetof(DLDataType, lanes) == 2);
static_assert(sizeof(DLTensor) == 48 && offsetof(DLTensor, data) == 0 &&
              offsetof(DLTensor, device) == 8 && offsetof(DLTensor, ndim) == 16 &&
              offsetof(DLTensor, dtype) == 20 && offsetof(DLTensor, shape) == 24 &&
              offsetof(DLTensor, strides) == 32 && offsetof(DLTensor, byte_offset) == 40);
static_assert(sizeof(DLManagedTensor) == 64 && offsetof(DLManagedTensor, dl_tensor) == 0 &&
              offsetof(DLManagedTensor, manager_ctx) == 48 &&
              offsetof(DLManagedTensor, deleter) == 56);
static_assert(sizeof(DLManagedTensorVersioned) == 80 &&
              offsetof(DLManagedTensorVersioned, version) == 0 &&
              offsetof(DLManagedTensorVersioned, manager_ctx) == 8 &&
              offsetof(DLManagedTensorVersioned, deleter) == 16 &&
              offsetof(DLManagedTensorVersioned, flags) == 24 &&
              offsetof(DLManagedTensorVersioned, dl_tensor) == 32);

// A view of `tensor` for others. The caller owns it: it, or the consumer it is given to, calls its
// deleter once, which drops `owner` (empty when the bytes outlive every consumer).
//
// Errors: INVALID_ARGUMENT for BYTES, which DLPack has no type for; for bytes that do not fit type
// and shape; and for bytes that are not aligned to their elements, as a tensor's in a body may be
// (copy it). `owner` is dropped then.
Result<DLManagedTensorVersioned*> ToDlpack(const Tensor& tensor, BufferRef owner, bool read_only);

// The same for consumers from before DLPack 1. There is no flag to forbid them to write, so only
// bytes that nobody else reads may go this way.
Result<DLManagedTensor*> ToDlpackLegacy(const Tensor& tensor, BufferRef owner);

struct DlpackTensor {
  Tensor tensor;
  BufferRef owner;  // Calls the deleter when the last copy goes.
};

// Takes over `managed`. On error nothing has been taken: it is still the caller's, who must call
// its deleter (which is safe for every version).
//
// Every field is checked. What no consumer can check is whether the pointers lead to as many
// elements as the shape says.
//
// Errors: INVALID_ARGUMENT that names what was expected and what came: null, another major version,
// a device that is not the CPU, a type that the protocol cannot carry, more than Shape::kMaxRank
// dimensions, a negative one, a size that does not fit, strides that leave gaps or reorder (those
// of dimensions of length 1, and of empty tensors, do not matter), no data where some is due, and
// data that is not aligned to its elements.
Result<DlpackTensor> FromDlpack(DLManagedTensorVersioned* managed);
Result<DlpackTensor> FromDlpack(DLManagedTensor* managed);

}  // namespace fastserve
