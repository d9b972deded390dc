#include "tensor/dlpack.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace fastserve {
namespace {

alignas(64) std::array<std::byte, 64> memory;

// A tensor as another library would hand it over, every field of which a test may spoil.
struct Foreign {
  Foreign(std::initializer_list<int64_t> dims, DLDataType dtype = {kDLFloat, 32, 1}) : shape(dims) {
    managed.version = {kDlpackMajor, kDlpackMinor};
    managed.manager_ctx = this;
    managed.deleter = [](DLManagedTensorVersioned* self) {
      ++static_cast<Foreign*>(self->manager_ctx)->deletions;
    };
    managed.dl_tensor = {memory.data(),
                         {kDLCPU, 0},
                         static_cast<int32_t>(shape.size()),
                         dtype,
                         shape.data(),
                         nullptr,
                         0};
  }
  Foreign(const Foreign&) = delete;
  Foreign& operator=(const Foreign&) = delete;

  Foreign& Strides(std::initializer_list<int64_t> of) {
    strides = of;
    managed.dl_tensor.strides = strides.data();
    return *this;
  }
  DLTensor& tensor() { return managed.dl_tensor; }

  std::vector<int64_t> shape;
  std::vector<int64_t> strides;
  DLManagedTensorVersioned managed{};
  int deletions = 0;
};

// The tensor is refused with INVALID_ARGUMENT whose message holds each of `parts`, and stays the
// caller's: its deleter was not called.
void ExpectRefused(Foreign& foreign, std::initializer_list<std::string_view> parts) {
  {
    const Result<DlpackTensor> imported = FromDlpack(&foreign.managed);
    ASSERT_FALSE(imported.ok());
    EXPECT_EQ(imported.status().code(), Code::kInvalidArgument);
    for (std::string_view part : parts) {
      EXPECT_NE(imported.status().message().find(part), std::string::npos)
          << part << " is not in: " << imported.status().message();
    }
  }
  EXPECT_EQ(foreign.deletions, 0);
}

// It is taken, and its deleter called once when the last reference goes.
Tensor ExpectTaken(Foreign& foreign) {
  Tensor tensor;
  {
    Result<DlpackTensor> imported = FromDlpack(&foreign.managed);
    EXPECT_TRUE(imported.ok()) << imported.status().message();
    if (!imported.ok()) return tensor;
    tensor = imported->tensor;
    const BufferRef second = imported->owner;
    EXPECT_TRUE(ValidateTensor("imported", tensor).ok());
    *imported = {};
    EXPECT_EQ(foreign.deletions, 0);
  }
  EXPECT_EQ(foreign.deletions, 1);
  return tensor;
}

TEST(FromDlpack, CallsTheDeleterOnceAfterTheLastReference) {
  Foreign foreign{2, 3};
  EXPECT_EQ(ExpectTaken(foreign).bytes.data(), memory.data());
}

// A producer with nothing to release says so by a null deleter.
TEST(FromDlpack, NeedsNoDeleter) {
  Foreign foreign{2};
  foreign.managed.deleter = nullptr;
  EXPECT_TRUE(FromDlpack(&foreign.managed).ok());
  EXPECT_EQ(foreign.deletions, 0);
}

TEST(FromDlpack, HeedsByteOffset) {
  Foreign foreign{2};
  foreign.tensor().byte_offset = 12;
  EXPECT_EQ(ExpectTaken(foreign).bytes.data(), memory.data() + 12);
}

// Minor versions and flags are for additions that this room can ignore.
TEST(FromDlpack, TakesLaterMinorVersionsAndAnyFlags) {
  Foreign foreign{2};
  foreign.managed.version.minor = 99;
  foreign.managed.flags = ~uint64_t{0};
  ExpectTaken(foreign);
}

TEST(FromDlpack, TakesStridesThatDoNotMatter) {
  ExpectTaken(Foreign({2, 3}).Strides({3, 1}));
  ExpectTaken(Foreign({1, 3}).Strides({-77, 1}));
  ExpectTaken(Foreign({3, 1, 2}).Strides({2, 0, 1}));
  ExpectTaken(Foreign({1}).Strides({std::numeric_limits<int64_t>::min()}));
  ExpectTaken(Foreign({0, 3}).Strides({-5, 9}));
}

TEST(FromDlpack, NamesShapeAndStridesThatAreNotRowMajor) {
  Foreign transposed({2, 3});
  ExpectRefused(transposed.Strides({1, 2}), {"[2,3]", "[1,2]"});
  Foreign gaps({2, 3});
  ExpectRefused(gaps.Strides({4, 1}), {"[2,3]", "[4,1]"});
  Foreign reversed({4});
  ExpectRefused(reversed.Strides({-1}), {"[4]", "[-1]"});
  Foreign repeated({4});
  ExpectRefused(repeated.Strides({0}), {"[4]", "[0]"});
}

TEST(FromDlpack, TakesNullDataOnlyForEmptyTensors) {
  Foreign empty{0, 3};
  empty.tensor().data = nullptr;
  empty.tensor().byte_offset = 3;  // Of nothing.
  EXPECT_TRUE(ExpectTaken(empty).bytes.empty());
  Foreign full{2};
  full.tensor().data = nullptr;
  ExpectRefused(full, {"data is null", "8 bytes"});
}

TEST(FromDlpack, RefusesAnotherMajorVersionBeforeItReadsTheTensor) {
  Foreign foreign{2};
  foreign.managed.version = {2, 5};
  foreign.tensor().shape = reinterpret_cast<int64_t*>(8);
  ExpectRefused(foreign, {"version 2.5", "expected 1.x"});
  foreign.managed.version = {0, 8};
  ExpectRefused(foreign, {"version 0.8"});
}

TEST(FromDlpack, NamesTheDeviceThatIsNotTheCpu) {
  Foreign foreign{2};
  foreign.tensor().device = {kDLCUDA, 3};
  ExpectRefused(foreign, {"CUDA:3", "expected CPU"});
  foreign.tensor().device = {kDLCUDAHost, 0};
  ExpectRefused(foreign, {"pinned CUDA host:0"});
  for (const int32_t number :
       {-1, 0, 5, 19, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()}) {
    foreign.tensor().device = {static_cast<DLDeviceType>(number), 0};
    ExpectRefused(foreign, {"device number " + std::to_string(number) + ":0"});
  }
}

TEST(FromDlpack, RefusesTypesThatTheProtocolCannotCarry) {
  const auto expect_refused = [](DLDataType dtype, std::string_view message) {
    Foreign foreign({2}, dtype);
    ExpectRefused(foreign, {message});
  };
  expect_refused({kDLComplex, 64, 1}, "complex of 64 bits in 1 lanes");
  expect_refused({kDLFloat, 32, 4}, "float of 32 bits in 4 lanes");
  expect_refused({kDLFloat, 32, 0}, "float of 32 bits in 0 lanes");
  expect_refused({kDLFloat, 8, 1}, "float of 8 bits");
  expect_refused({kDLInt, 4, 1}, "int of 4 bits");
  expect_refused({kDLBool, 1, 1}, "bool of 1 bits");
  expect_refused({kDLBfloat, 32, 1}, "bfloat of 32 bits");
  expect_refused({10, 8, 1}, "number 10 of 8 bits");
  expect_refused({255, 255, 65535}, "number 255 of 255 bits in 65535 lanes");
}

// Of all codes and widths, those of the protocol's fixed-size types are taken and no other.
TEST(FromDlpack, TakesNoOtherType) {
  size_t taken = 0;
  for (int code = 0; code < 256; ++code) {
    for (int bits = 0; bits < 256; ++bits) {
      Foreign foreign({2}, {static_cast<uint8_t>(code), static_cast<uint8_t>(bits), 1});
      taken += FromDlpack(&foreign.managed).ok() ? 1 : 0;
    }
  }
  EXPECT_EQ(taken, kDataTypeCount - 1);  // All but BYTES.
}

TEST(FromDlpack, ChecksTheNumberOfDimensions) {
  Foreign most({1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1});
  static_assert(Shape::kMaxRank == 12);
  ExpectTaken(most);
  Foreign scalar({});
  scalar.tensor().shape = nullptr;
  EXPECT_EQ(ExpectTaken(scalar).bytes.size(), 4u);
  Foreign foreign{2};
  for (const int32_t ndim :
       {-1, 13, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()}) {
    foreign.tensor().ndim = ndim;
    ExpectRefused(foreign, {"has " + std::to_string(ndim) + " dimensions", "0 to 12"});
  }
  foreign.tensor().ndim = 1;
  foreign.tensor().shape = nullptr;
  ExpectRefused(foreign, {"shape is null"});
}

TEST(FromDlpack, RefusesNegativeDimensionsAndSizesThatOverflow) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  const auto expect_refused = [](std::initializer_list<int64_t> dims, DLDataType dtype,
                                 std::string_view shape) {
    Foreign foreign(dims, dtype);
    ExpectRefused(foreign, {shape, "negative dimension or too many elements"});
  };
  expect_refused({2, -1}, {kDLFloat, 32, 1}, "[2,-1]");
  expect_refused({0, -1}, {kDLFloat, 32, 1}, "[0,-1]");
  expect_refused({kMax, 2}, {kDLUInt, 8, 1}, "[9223372036854775807,2]");
  // The elements can be counted in an int64, their bytes cannot.
  expect_refused({kMax}, {kDLUInt, 16, 1}, "[9223372036854775807] of UINT16");
  expect_refused({int64_t{1} << 62}, {kDLFloat, 64, 1}, "[4611686018427387904] of FP64");
}

TEST(FromDlpack, RefusesBytesBeyondTheEndOfMemory) {
  Foreign offset{2};
  offset.tensor().byte_offset = std::numeric_limits<uint64_t>::max() - 3;
  ExpectRefused(offset, {"8 bytes at byte_offset 18446744073709551612", "end of memory"});
  Foreign size({std::numeric_limits<int64_t>::max()}, {kDLUInt, 8, 1});
  size.tensor().byte_offset = uint64_t{1} << 63;
  ExpectRefused(size, {"end of memory"});
}

TEST(FromDlpack, RefusesDataThatIsNotAlignedToItsElements) {
  Foreign foreign{2};
  foreign.tensor().byte_offset = 2;
  ExpectRefused(foreign, {"FP32", "2 bytes past a multiple of 4"});
  foreign.tensor().dtype = {kDLFloat, 16, 1};
  ExpectTaken(foreign);
}

TEST(FromDlpack, RefusesNull) {
  const Result<DlpackTensor> versioned =
      FromDlpack(static_cast<DLManagedTensorVersioned*>(nullptr));
  EXPECT_EQ(versioned.status().code(), Code::kInvalidArgument);
  const Result<DlpackTensor> legacy = FromDlpack(static_cast<DLManagedTensor*>(nullptr));
  EXPECT_EQ(legacy.status().code(), Code::kInvalidArgument);
}

// The legacy struct goes the same way: one refusal and one deletion stand for the rest.
TEST(FromDlpack, ChecksAndOwnsLegacyTensorsAlike) {
  int deletions = 0;
  int64_t dims[] = {2};
  DLManagedTensor managed = {
      {memory.data(), {kDLCPU, 0}, 1, {kDLFloat, 32, 4}, dims, nullptr, 0},
      &deletions,
      [](DLManagedTensor* self) { ++*static_cast<int*>(self->manager_ctx); },
  };
  EXPECT_EQ(FromDlpack(&managed).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(deletions, 0);
  managed.dl_tensor.dtype.lanes = 1;
  EXPECT_TRUE(FromDlpack(&managed).ok());
  EXPECT_EQ(deletions, 1);
}

}  // namespace
}  // namespace fastserve
