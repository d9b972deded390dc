// Inputs and outputs in shared memory, over gRPC.
#include <limits>

#include "protocol/expect_range.h"
#include "protocol/grpc/kserve_grpc_fixture.h"

namespace fastserve {
namespace {

using proto::Bytes;
using proto::Entry;
using proto::Fixed;
using proto::Floats;
using proto::Input;
using proto::Varint;

constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
constexpr uint32_t kInt64 = 2;
constexpr uint32_t kUint64 = 5;

std::string Region(std::string_view region) {
  return Entry("shared_memory_region", Bytes(3, region));
}
std::string Offset(uint64_t offset, uint32_t field = kInt64) {
  return Entry("shared_memory_offset", Varint(field, offset));
}
std::string ByteSize(uint64_t bytes, uint32_t field = kInt64) {
  return Entry("shared_memory_byte_size", Varint(field, bytes));
}
// Entries as parameters of an input (field 4) or an output (field 2).
std::string Parameters(uint32_t field, std::initializer_list<std::string> entries) {
  std::string out;
  for (const std::string& entry : entries) out += Bytes(field, entry);
  return out;
}
std::string MemoryInput(std::initializer_list<std::string> entries, std::string_view rest = "") {
  return Bytes(5, Input("x", "FP32", 2, Parameters(4, entries) + std::string(rest)));
}
std::string MemoryOutput(std::initializer_list<std::string> entries) {
  return Bytes(6, Bytes(1, "y") + Parameters(2, entries));
}

using KserveGrpcSharedMemory = KserveGrpc;

TEST_F(KserveGrpcSharedMemory, InputsAndOutputsHaveRanges) {
  for (const uint32_t kind : {kInt64, kUint64}) {
    ExpectOk(Decode(MemoryInput({Region("r"), ByteSize(8, kind), Offset(64, kind)}) +
                    MemoryOutput({ByteSize(0, kind), Region("s")})));
    const InferInput& input = request_.inputs.at(0);
    ExpectRange(input.memory, "r", 64, 8);
    EXPECT_EQ(input.tensor.type, DataType::kFp32);
    EXPECT_EQ(input.tensor.shape, Shape({2}));
    EXPECT_TRUE(input.tensor.bytes.empty());
    ExpectRange(request_.outputs.at(0).memory, "s", 0, 0);
    EXPECT_FALSE(request_.outputs[0].binary);
  }
  EXPECT_EQ(allocator_.calls, 0u);
}

TEST_F(KserveGrpcSharedMemory, RawContentsAreForTheOtherInputsInTheirOrder) {
  const std::string memory = MemoryInput({Region("r"), ByteSize(8)});
  ExpectOk(Decode(memory + Bytes(5, Input("a", "INT8", 1)) + memory +
                  Bytes(5, Input("b", "INT8", 2)) + memory + Bytes(7, "a") + Bytes(7, "bc")));
  ASSERT_EQ(request_.inputs.size(), 5u);
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(request_.inputs[i].memory.is_set(), i % 2 == 0) << i;
  EXPECT_EQ(ContentOf(0), "");
  EXPECT_EQ(ContentOf(1), "a");
  EXPECT_EQ(ContentOf(2), "");
  EXPECT_EQ(ContentOf(3), "bc");
  EXPECT_EQ(ContentOf(4), "");
}

TEST_F(KserveGrpcSharedMemory, TypedContentsMayStandInOtherInputs) {
  ExpectOk(Decode(MemoryInput({Region("r"), ByteSize(8)}) +
                  Bytes(5, Input("t", "FP32", 1, Bytes(5, Fixed(6, 1.5f))))));
  EXPECT_EQ(ContentOf(0), "");
  EXPECT_EQ(ContentOf(1), Floats({1.5}));
}

TEST_F(KserveGrpcSharedMemory, RawContentsMustSuitTheOtherInputs) {
  const std::string memory = MemoryInput({Region("r"), ByteSize(8)});
  EXPECT_EQ(ErrorOf(memory + Bytes(7, "abcdefgh")),
            "request: 0 inputs that are not in shared memory, but 1 raw_input_contents");
  EXPECT_EQ(ErrorOf(memory + Bytes(5, Input("a", "INT8", 1)) + Bytes(7, "") + Bytes(7, "a")),
            "request: 1 inputs that are not in shared memory, but 2 raw_input_contents");
}

TEST_F(KserveGrpcSharedMemory, TheRequestBeforeIsForgotten) {
  ExpectOk(Decode(MemoryInput({Region("r"), ByteSize(8)})));
  ExpectOk(Decode(proto::FloatsRequest()));
  EXPECT_FALSE(request_.inputs.at(0).memory.is_set());
  EXPECT_EQ(ContentOf(0), Floats({1, 2}));
}

TEST_F(KserveGrpcSharedMemory, OfTwoEntriesWithOneKeyTheLastCounts) {
  ExpectOk(Decode(MemoryInput({Region("r"), Offset(1), ByteSize(4), Region("s"), ByteSize(8)})));
  ExpectRange(request_.inputs.at(0).memory, "s", 1, 8);
}

TEST_F(KserveGrpcSharedMemory, WhatIsMissingIsNamed) {
  const std::string size_missing =
      ": parameter 'shared_memory_byte_size' is missing: expected it "
      "beside 'shared_memory_region', or none of them";
  EXPECT_EQ(ErrorOf(MemoryInput({Region("r")})), "tensor 'x'" + size_missing);
  EXPECT_EQ(ErrorOf(MemoryOutput({Region("r"), Offset(1)})), "output 'y'" + size_missing);
  EXPECT_EQ(ErrorOf(Bytes(6, Bytes(2, Region("r")))), "outputs[0]" + size_missing);
  EXPECT_TRUE(ErrorOf(MemoryInput({ByteSize(8)}))
                  .starts_with("tensor 'x': parameter 'shared_memory_region' is missing"));
  EXPECT_TRUE(ErrorOf(MemoryOutput({Offset(8)}))
                  .starts_with("output 'y': parameter 'shared_memory_region' is missing"));
  EXPECT_EQ(ErrorOf(MemoryInput({Region(""), ByteSize(8)})),
            "tensor 'x': parameter 'shared_memory_region': expected the name of a registered "
            "region, received an empty one");
  EXPECT_EQ(ErrorOf(Bytes(5, Bytes(1, "x") + Parameters(4, {Region("r"), ByteSize(8)}))),
            "tensor 'x': datatype '' does not exist");
  EXPECT_EQ(ErrorOf(Bytes(5, Parameters(4, {Region("r"), ByteSize(8)}))),
            "inputs[0]: 'name' is missing");
}

TEST_F(KserveGrpcSharedMemory, ValuesOfAnotherKindAreNamed) {
  const auto region = [](std::string_view value) { return Entry("shared_memory_region", value); };
  const auto size = [](std::string_view value) { return Entry("shared_memory_byte_size", value); };
  const std::string of_region = ": parameter 'shared_memory_region': expected ";
  EXPECT_EQ(ErrorOf(MemoryInput({region(Varint(2, 7))})),
            "tensor 'x'" + of_region + "a string_param, received int64_param 7");
  EXPECT_EQ(ErrorOf(MemoryOutput({region("")})),
            "output 'y'" + of_region + "a string_param, received no value");
  EXPECT_EQ(ErrorOf(MemoryInput({Region("\xFF")})), "tensor 'x'" + of_region + "UTF-8");
  const std::string of_size =
      ": parameter 'shared_memory_byte_size': expected an integer of at "
      "least 0 (int64_param or uint64_param), received ";
  EXPECT_EQ(ErrorOf(MemoryInput({size(Bytes(3, "8"))})), "tensor 'x'" + of_size + "a string_param");
  EXPECT_EQ(ErrorOf(MemoryInput({size(Fixed(4, 8.0))})), "tensor 'x'" + of_size + "a double_param");
  EXPECT_EQ(ErrorOf(MemoryInput({size(Varint(1, 1))})), "tensor 'x'" + of_size + "a bool_param");
  EXPECT_EQ(ErrorOf(MemoryOutput({ByteSize(kMost)})), "output 'y'" + of_size + "int64_param -1");
  EXPECT_TRUE(
      ErrorOf(MemoryOutput({Offset(kMost)}))
          .starts_with("output 'y': parameter 'shared_memory_offset': expected an integer"));
}

TEST_F(KserveGrpcSharedMemory, ARangeDoesNotOverflow) {
  EXPECT_EQ(ErrorOf(MemoryInput({Region("r"), Offset(kMost - 7, kUint64), ByteSize(8)})),
            "tensor 'x': expected shared_memory_offset and shared_memory_byte_size within a "
            "region, received 18446744073709551608 and 8, which are more than 64 bits together");
  ExpectInvalid(Decode(MemoryOutput({Region("r"), Offset(1), ByteSize(kMost, kUint64)})),
                "output 'y': expected shared_memory_offset");
  ExpectOk(Decode(MemoryOutput({Region("r"), Offset(1), ByteSize(kMost - 1, kUint64)})));
}

TEST_F(KserveGrpcSharedMemory, AnInputHasItsBytesInOnePlace) {
  const std::string_view both =
      "tensor 'x': expected no 'contents' beside 'shared_memory_region', received both";
  EXPECT_EQ(
      ErrorOf(MemoryInput({Region("r"), ByteSize(8)}, Bytes(5, Fixed(6, 1.0f) + Fixed(6, 1.0f)))),
      both);
  EXPECT_EQ(ErrorOf(MemoryInput({Region("r"), ByteSize(8)}, Bytes(5, ""))), both);
  // Those of another input are no concern of it.
  ExpectOk(Decode(Bytes(5, Input("t", "FP32", 1, Bytes(5, Fixed(6, 1.5f)))) +
                  MemoryInput({Region("r"), ByteSize(8)})));
}

TEST_F(KserveGrpcSharedMemory, TheSizeIsThatOfTypeAndShape) {
  EXPECT_EQ(ErrorOf(MemoryInput({Region("r"), ByteSize(7)})),
            "tensor 'x': expected 2 elements of FP32 for shape [2], 4 bytes each, but received 7 "
            "bytes");
  ExpectInvalid(Decode(MemoryInput({Region("r"), ByteSize(9)})), "received 9 bytes");
  // Of these only whoever has the region can tell.
  ExpectOk(Decode(
      Bytes(5, Input("s", "BYTES", 2, Parameters(4, {Region("r"), ByteSize(kMost, kUint64)})))));
  EXPECT_EQ(request_.inputs.at(0).memory.bytes, kMost);
}

TEST_F(KserveGrpcSharedMemory, AnOutputHasNoClasses) {
  for (const uint64_t count : {0, 3}) {
    EXPECT_EQ(ErrorOf(MemoryOutput(
                  {Entry("classification", Varint(2, count)), Region("r"), ByteSize(8)})),
              "output 'y': expected no 'classification' beside 'shared_memory_region', received "
              "both");
  }
}

TEST_F(KserveGrpcSharedMemory, AClientDoesNotReadIt) {
  for (const std::string& entry : {Region("r"), Offset(0), ByteSize(4)}) {
    const std::string answer =
        Bytes(5, Input("y", "FP32", 1, Bytes(4, entry))) + Bytes(6, Floats({1}));
    ExpectError(decoder_.DecodeResponse(std::as_bytes(std::span(answer)), allocator_, &request_),
                Code::kInternal, "the server's answer: tensor 'y': expected its bytes");
  }
}

}  // namespace
}  // namespace fastserve
