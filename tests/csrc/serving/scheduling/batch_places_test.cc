#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <utility>

#include "serving/scheduling/batch_rig.h"

namespace fastserve {
namespace {

// Copies its input to where its output is wanted, if anywhere.
Status EchoInPlace(std::span<const BatchInput> inputs, int64_t rows, OutputSink& outputs) {
  const OutputPlace place = outputs.PlaceFor(0);
  const std::span<const std::byte> bytes = inputs[0].tensor.bytes;
  if (place.bytes.size() < bytes.size()) return Echo(inputs, rows, outputs);
  std::memcpy(place.bytes.data(), bytes.data(), bytes.size());
  outputs.Add(0, {inputs[0].tensor.type, inputs[0].tensor.shape, place.bytes.first(bytes.size())},
              place.owner);
  outputs.EndResponse();
  return {};
}

TEST(Batch, OffersTheEngineThePlaceOfASingleRequestsOutput) {
  Rig rig(FloatBackend(EchoInPlace));
  RequestPtr request = rig.sink.FloatRequest(0, 2, 1);
  const BufferRef memory = HeapBuffer(std::string(64, '.'));
  request->places = {{memory->bytes(), memory}};
  rig.batch.Add(std::move(request));
  rig.Run();
  EXPECT_EQ(rig.sink[0].addresses.at(0), memory->data());
  EXPECT_TRUE(rig.sink[0].status.ok());
}

TEST(Batch, OffersNoPlaceToARunOfSeveralRequests) {
  Rig rig(FloatBackend(EchoInPlace));
  const BufferRef memory = HeapBuffer(std::string(64, '.'));
  for (size_t i = 0; i < 2; ++i) {
    RequestPtr request = rig.sink.FloatRequest(i, 2, 1);
    request->places = {{memory->bytes(), memory}};
    rig.batch.Add(std::move(request));
  }
  rig.Run();
  EXPECT_NE(rig.sink[0].addresses.at(0), memory->data());
  EXPECT_NE(rig.sink[1].addresses.at(0), memory->data());
}

}  // namespace
}  // namespace fastserve
