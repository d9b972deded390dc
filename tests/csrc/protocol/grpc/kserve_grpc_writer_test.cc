#include <gtest/gtest.h>

#include "protocol/grpc/grpc_framing.h"
#include "protocol/grpc/kserve_grpc.h"
#include "protocol/grpc/proto_text.h"
#include "protocol/grpc/proto_writer.h"

namespace fastserve {
namespace {

using proto::Bytes;
using proto::Entry;
using proto::Varint;

Tensor TensorOf(std::string_view bytes, DataType type, const Shape& shape) {
  return {.type = type, .shape = shape, .bytes = std::as_bytes(std::span(bytes))};
}

// The whole message, with the tensors in it, without its prefix, whose length is checked.
std::string Encode(const InferResult& result, const std::vector<InferResultOutput>& outputs,
                   GrpcEnvelope envelope = {}) {
  ByteWriter out;
  std::vector<size_t> cuts;
  EXPECT_TRUE(EncodeGrpcInferResponse(result, outputs, envelope, &out, &cuts).ok());
  EXPECT_EQ(cuts.size(), outputs.size());
  std::string whole;
  size_t from = 0;
  for (size_t i = 0; i < cuts.size(); ++i) {
    whole += out.view().substr(from, cuts[i] - from);
    if (!outputs[i].memory.is_set()) {
      const auto bytes = outputs[i].tensor.bytes;
      whole.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    from = cuts[i];
  }
  whole += out.view().substr(from);
  EXPECT_EQ(ParseGrpcPrefix(whole)->length, whole.size() - kGrpcPrefixBytes);
  return whole.substr(kGrpcPrefixBytes);
}

const InferResult kResult{.model_name = "m", .model_version = "1", .id = "7", .has_id = true};
const std::string kHead = Bytes(1, "m") + Bytes(2, "1") + Bytes(3, "7");

TEST(KserveGrpcWriter, AResponse) {
  const std::string long_bytes(300, 'b');
  EXPECT_EQ(Encode(kResult, {{"y", TensorOf("abcdefgh", DataType::kFp32, {1, 2}), true},
                             {"z", TensorOf(long_bytes, DataType::kUint8, {300}), true}}),
            kHead + Bytes(5, Bytes(1, "y") + Bytes(2, "FP32") + Bytes(3, "\x01\x02")) +
                Bytes(5, Bytes(1, "z") + Bytes(2, "UINT8") + Bytes(3, "\xAC\x02")) +
                Bytes(6, "abcdefgh") + Bytes(6, long_bytes));
}

TEST(KserveGrpcWriter, ScalarsAndNothingAtAll) {
  EXPECT_EQ(Encode({}, {{"y", TensorOf("a", DataType::kBool, {}), true},
                        {"z", TensorOf("", DataType::kFp32, {0}), true}}),
            Bytes(5, Bytes(1, "y") + Bytes(2, "BOOL")) +
                Bytes(5, Bytes(1, "z") + Bytes(2, "FP32") + Bytes(3, std::string(1, '\0'))) +
                Bytes(6, "a") + Bytes(6, ""));
  EXPECT_EQ(Encode({}, {}), "");
}

TEST(KserveGrpcWriter, OutputsInSharedMemory) {
  const auto parameters = [](std::string_view region, const std::string& offset,
                             const std::string& bytes) {
    return Bytes(4, Entry("shared_memory_region", Bytes(3, region))) +
           Bytes(4, Entry("shared_memory_offset", offset)) +
           Bytes(4, Entry("shared_memory_byte_size", bytes));
  };
  const std::string region(200, 'r');
  const uint64_t high = uint64_t{1} << 63;
  // Where they are the tensors' bytes have gone, or are not known at all.
  const std::vector<InferResultOutput> outputs = {
      {"y", TensorOf("abcdefgh", DataType::kFp32, {1, 2}), true, {region, 300, 8}},
      {"z", TensorOf("z", DataType::kBool, {}), true},
      {"w", TensorOf("", DataType::kBytes, {}), true, {"s", high, high - 1}},
      {"v", TensorOf("", DataType::kFp32, {0}), false, {"s", 0, 0}}};
  const std::string message =
      kHead +
      Bytes(5, Bytes(1, "y") + Bytes(2, "FP32") + Bytes(3, "\x01\x02") +
                   parameters(region, Varint(2, 300), Varint(2, 8))) +
      Bytes(5, Bytes(1, "z") + Bytes(2, "BOOL")) +
      Bytes(5, Bytes(1, "w") + Bytes(2, "BYTES") +
                   parameters("s", Varint(5, high), Varint(2, high - 1))) +
      Bytes(5, Bytes(1, "v") + Bytes(2, "FP32") + Bytes(3, std::string(1, '\0')) +
                   parameters("s", Varint(2, 0), Varint(2, 0))) +
      Bytes(6, "") + Bytes(6, "z") + Bytes(6, "") + Bytes(6, "");
  EXPECT_EQ(Encode(kResult, outputs), message);
  EXPECT_EQ(Encode(kResult, outputs, {.in_stream = true}), Bytes(2, message));
}

TEST(KserveGrpcWriter, InAStream) {
  const auto is_final = [](bool value) {
    return Bytes(4, Bytes(1, "triton_final_response") + Bytes(2, Varint(1, value)));
  };
  EXPECT_EQ(Encode(kResult, {}, {.in_stream = true}), Bytes(2, kHead));
  EXPECT_EQ(Encode(kResult, {}, {.in_stream = true, .is_final = true}),
            Bytes(2, kHead + is_final(true)));
  EXPECT_EQ(Encode(kResult, {{"y", TensorOf("a", DataType::kBool, {}), true}},
                   {.in_stream = true, .is_final = false}),
            Bytes(2, kHead + is_final(false) + Bytes(5, Bytes(1, "y") + Bytes(2, "BOOL")) +
                         Bytes(6, "a")));
}

TEST(KserveGrpcWriter, AnErrorInAStream) {
  ByteWriter out;
  EncodeGrpcStreamError("no", kResult, &out);
  EXPECT_EQ(out.view().substr(kGrpcPrefixBytes), Bytes(1, "no") + Bytes(2, kHead));
  EXPECT_EQ(ParseGrpcPrefix(out.view())->length, out.size() - kGrpcPrefixBytes);
  out.Clear();
  EncodeGrpcStreamError("no", {}, &out);
  EXPECT_EQ(out.view().substr(kGrpcPrefixBytes), Bytes(1, "no"));
}

TEST(KserveGrpcWriter, WhatNoPrefixCanTellIsRefused) {
  Tensor tensor;
  // Never read: only its size counts.
  tensor.bytes = {reinterpret_cast<const std::byte*>(&tensor), size_t{1} << 32};
  ByteWriter out;
  std::vector<size_t> cuts;
  const std::vector<InferResultOutput> outputs = {{"y", tensor, true}};
  EXPECT_EQ(EncodeGrpcInferResponse(kResult, outputs, {}, &out, &cuts).code(),
            Code::kResourceExhausted);
  EXPECT_EQ(out.size(), 0u);
  const std::vector<InferResultOutput> elsewhere = {{"y", tensor, true, {"r", 0, 1}}};
  EXPECT_TRUE(EncodeGrpcInferResponse(kResult, elsewhere, {}, &out, &cuts).ok());
  EXPECT_EQ(cuts, std::vector<size_t>{out.size()});
}

TEST(ProtoWriter, VarintsOfAllLengths) {
  for (int bits = 0; bits < 64; ++bits) {
    const uint64_t value = uint64_t{1} << bits;
    ByteWriter out;
    AppendVarint(value, &out);
    EXPECT_EQ(out.view(), proto::RawVarint(value));
    EXPECT_EQ(VarintBytes(value), out.size());
  }
}

}  // namespace
}  // namespace fastserve
