#include "tensor/dlpack.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace fastserve {
namespace {

// A buffer that tells when its last owner has gone.
struct WatchedBuffer : Buffer {
  WatchedBuffer(std::span<std::byte> bytes, int& releases)
      : Buffer(bytes.data(), bytes.size(), &WatchedBuffer::Destroy), releases(releases) {}
  static void Destroy(Buffer* buffer) {
    ++static_cast<WatchedBuffer*>(buffer)->releases;
    delete static_cast<WatchedBuffer*>(buffer);
  }
  int& releases;
};

alignas(64) std::array<std::byte, 64> memory;

struct TypePair {
  DataType type;
  DLDataType dlpack;
};

// From the ABI's text, not from the table that is tested.
constexpr std::array<TypePair, 13> kPairs = {{
    {DataType::kBool, {6, 8, 1}},
    {DataType::kUint8, {1, 8, 1}},
    {DataType::kUint16, {1, 16, 1}},
    {DataType::kUint32, {1, 32, 1}},
    {DataType::kUint64, {1, 64, 1}},
    {DataType::kInt8, {0, 8, 1}},
    {DataType::kInt16, {0, 16, 1}},
    {DataType::kInt32, {0, 32, 1}},
    {DataType::kInt64, {0, 64, 1}},
    {DataType::kFp16, {2, 16, 1}},
    {DataType::kFp32, {2, 32, 1}},
    {DataType::kFp64, {2, 64, 1}},
    {DataType::kBf16, {4, 16, 1}},
}};

// Out and in again: the same bytes at the same address, whichever struct carries them.
template <typename Managed>
void ExpectRoundTrip(Managed* exported, const Tensor& tensor, DLDataType dtype, int& releases) {
  const DLTensor& out = exported->dl_tensor;
  EXPECT_EQ(out.dtype.code, dtype.code);
  EXPECT_EQ(out.dtype.bits, dtype.bits);
  EXPECT_EQ(out.dtype.lanes, dtype.lanes);
  EXPECT_EQ(out.device.device_type, 1);
  EXPECT_EQ(out.device.device_id, 0);
  ASSERT_EQ(out.ndim, 2);
  EXPECT_EQ(out.shape[0], 2);
  EXPECT_EQ(out.shape[1], 3);
  EXPECT_EQ(out.strides[0], 3);
  EXPECT_EQ(out.strides[1], 1);
  EXPECT_EQ(out.byte_offset, 0u);
  {
    const Result<DlpackTensor> imported = FromDlpack(exported);
    ASSERT_TRUE(imported.ok()) << imported.status().message();
    EXPECT_EQ(imported->tensor.type, tensor.type);
    EXPECT_EQ(imported->tensor.shape, tensor.shape);
    EXPECT_EQ(imported->tensor.bytes.data(), tensor.bytes.data());
    EXPECT_EQ(imported->tensor.bytes.size(), tensor.bytes.size());
    EXPECT_EQ(imported->owner->data(), tensor.bytes.data());
    EXPECT_EQ(imported->owner->size(), tensor.bytes.size());
    EXPECT_EQ(releases, 0);
  }
  EXPECT_EQ(releases, 1);
}

TEST(Dlpack, EveryTypeButBytesMakesTheRoundTrip) {
  static_assert(kPairs.size() + 1 == kDataTypeCount);
  for (const auto& [type, dlpack] : kPairs) {
    SCOPED_TRACE(DataTypeName(type));
    const std::span bytes = std::span(memory).first(6 * ElementBytes(type));
    const Tensor tensor{type, {2, 3}, bytes};
    int releases = 0;
    auto owner = [&] { return BufferRef::Adopt(new WatchedBuffer(bytes, releases)); };
    ExpectRoundTrip(*ToDlpack(tensor, owner(), true), tensor, dlpack, releases);
    releases = 0;
    ExpectRoundTrip(*ToDlpackLegacy(tensor, owner()), tensor, dlpack, releases);
  }
}

TEST(Dlpack, ExportSaysVersionAndWhetherItMayBeWritten) {
  const Tensor tensor{DataType::kUint8, {4}, std::span(memory).first(4)};
  for (const bool read_only : {false, true}) {
    DLManagedTensorVersioned* exported = *ToDlpack(tensor, {}, read_only);
    EXPECT_EQ(exported->version.major, 1u);
    EXPECT_EQ(exported->flags, read_only ? 1u : 0u);
    exported->deleter(exported);
  }
}

// The consumer's deleter is one owner among others.
TEST(Dlpack, ExportKeepsItsOwnerUntilTheDeleterRuns) {
  int releases = 0;
  BufferRef mine = BufferRef::Adopt(new WatchedBuffer(memory, releases));
  const Tensor tensor{DataType::kFp32, {16}, mine->bytes()};
  DLManagedTensorVersioned* first = *ToDlpack(tensor, mine, true);
  DLManagedTensor* second = *ToDlpackLegacy(tensor, mine);
  EXPECT_FALSE(mine->has_one_owner());
  first->deleter(first);
  second->deleter(second);
  EXPECT_TRUE(mine->has_one_owner());
  EXPECT_EQ(releases, 0);
  DLManagedTensorVersioned* last = *ToDlpack(tensor, std::move(mine), true);
  EXPECT_EQ(releases, 0);
  last->deleter(last);
  EXPECT_EQ(releases, 1);
}

TEST(Dlpack, ExportOfScalarsAndEmptyTensors) {
  const Tensor scalar{DataType::kFp64, {}, std::span(memory).first(8)};
  DLManagedTensorVersioned* exported = *ToDlpack(scalar, {}, true);
  EXPECT_EQ(exported->dl_tensor.ndim, 0);
  EXPECT_EQ(exported->dl_tensor.data, memory.data());
  exported->deleter(exported);
  // The ABI asks for null here. The lengths beside the 0 need not have a product.
  constexpr int64_t kLarge = std::numeric_limits<int64_t>::max();
  const Tensor empty{DataType::kFp64, {0, kLarge, kLarge}, {}};
  exported = *ToDlpack(empty, {}, true);
  EXPECT_EQ(exported->dl_tensor.data, nullptr);
  const Result<DlpackTensor> imported = FromDlpack(exported);
  ASSERT_TRUE(imported.ok()) << imported.status().message();
  EXPECT_EQ(imported->tensor.shape, empty.shape);
}

TEST(Dlpack, ExportRefusesWhatItCannotDescribeAndDropsTheOwner) {
  struct Case {
    Tensor tensor;
    std::string_view message;
  };
  const std::span<const std::byte> bytes(memory);
  const Case cases[] = {
      {{DataType::kBytes, {1}, bytes.first(4)}, "no type for BYTES"},
      {{DataType::kFp32, {2}, bytes.first(7)}, "expected 2 elements of FP32"},
      {{DataType::kFp32, {-1}, bytes.first(4)}, "negative dimension"},
      {{DataType::kFp32, {2}, bytes.subspan(1, 8)}, "1 bytes past a multiple of 4"},
  };
  for (const Case& each : cases) {
    int releases = 0;
    auto owner = [&] { return BufferRef::Adopt(new WatchedBuffer(memory, releases)); };
    const Status status = ToDlpack(each.tensor, owner(), true).status();
    EXPECT_EQ(status.code(), Code::kInvalidArgument);
    EXPECT_NE(status.message().find(each.message), std::string::npos) << status.message();
    EXPECT_EQ(ToDlpackLegacy(each.tensor, owner()).status().message(), status.message());
    EXPECT_EQ(releases, 2);
  }
}

}  // namespace
}  // namespace fastserve
