// Bodies that arrive in pieces: the decoder reads what was gathered, whatever lies behind it.
#include "protocol/kserve_rest.h"

#include "protocol/feed_three_ways.h"
#include "protocol/kserve_rest_fixture.h"

namespace fastserve {
namespace {

class KserveRestPieces : public KserveRest {
 protected:
  // What is made of a message whose first `json_bytes` are JSON (nothing: all of it), in words.
  std::string ReadThreeWays(std::string_view message,
                            std::optional<size_t> json_bytes = std::nullopt) {
    return FeedThreeWays(message, [&](const Pieces& pieces) {
      std::string gathered;
      for (std::string_view piece : pieces) gathered += piece;
      return Read(gathered, message.size(), json_bytes);
    });
  }

 private:
  // As a connection does it: the body in one slab, a next message perhaps behind it.
  std::string Read(std::string_view received, size_t bytes, std::optional<size_t> json_bytes) {
    const std::string_view behind = received.substr(bytes);
    const std::unique_ptr<char[]> slab(new char[bytes + 64]);
    std::memcpy(slab.get(), received.data(), bytes);
    std::memset(slab.get() + bytes, 0, 64);
    std::memcpy(slab.get() + bytes, behind.data(), std::min<size_t>(64, behind.size()));
    const Status status = decoder_.Decode(std::as_bytes(std::span(slab.get(), bytes)), json_bytes,
                                          allocator_, &request_);
    if (!status.ok()) return StrCat("refused: ", status.message());
    std::string said(request_.id);
    for (const InferInput& input : request_.inputs) {
      const auto content = input.tensor.bytes;
      said += StrCat("; ", input.name, " ", DataTypeName(input.tensor.type),
                     input.tensor.shape.ToString(), " ");
      said.append(reinterpret_cast<const char*>(content.data()), content.size());
      said += Said(input.memory);
    }
    for (const InferOutput& output : request_.outputs) {
      said += StrCat("; ", output.name, Said(output.memory));
    }
    return said;
  }
  static std::string Said(const SharedMemoryRange& memory) {
    if (!memory.is_set()) return "";
    return StrCat(" in ", memory.region, " at ", memory.offset, ", ", memory.bytes, " bytes");
  }
};

TEST_F(KserveRestPieces, ReadsJsonAlikeHoweverItComes) {
  const std::string request = R"({"id":"a\u00e9","outputs":[{"name":"y"}],"inputs":[)"
                              R"({"name":"x","datatype":"UINT8","shape":[3],"data":[97,98,99]},)"
                              R"({"name":"s","datatype":"BYTES","shape":[1],"data":["d\n"]}]})";
  EXPECT_EQ(ReadThreeWays(request), StrCat("a\xC3\xA9; x UINT8[3] abc; s BYTES[1] ",
                                           std::string_view("\2\0\0\0", 4), "d\n; y"));
}

TEST_F(KserveRestPieces, ReadsABinaryTailAlikeHoweverItComes) {
  const std::string json = R"({"inputs":[{"name":"s","datatype":"BYTES","shape":[2],)"
                           R"("parameters":{"binary_data_size":9}}]})";
  const std::string tail("\1\0\0\0a\0\0\0\0", 9);
  EXPECT_EQ(ReadThreeWays(json + tail, json.size()), "; s BYTES[2] " + tail);
  // A length that goes beyond the tail, where a next message may lie.
  const std::string beyond("\1\0\0\0a\1\0\0\0", 9);
  EXPECT_TRUE(ReadThreeWays(json + beyond, json.size()).starts_with("refused: "));
}

TEST_F(KserveRestPieces, ReadsSharedMemoryAlikeHoweverItComes) {
  const std::string json =
      R"({"inputs":[{"name":"x","datatype":"INT8","shape":[5],"parameters":)"
      R"({"shared_memory_region":"a\u00e9","shared_memory_offset":12,)"
      R"("shared_memory_byte_size":5}},)"
      R"({"name":"b","datatype":"INT8","shape":[2],"parameters":{"binary_data_size":2}}],)"
      R"("outputs":[{"name":"y","parameters":)"
      R"({"shared_memory_byte_size":7,"shared_memory_region":"r"}}]})";
  EXPECT_EQ(ReadThreeWays(json + "bb", json.size()),
            "; x INT8[5]  in a\xC3\xA9 at 12, 5 bytes; b INT8[2] bb; y in r at 0, 7 bytes");
}

// What is not closed must not be closed by what happens to follow.
TEST_F(KserveRestPieces, RefusesATextThatTheNextMessageWouldEnd) {
  for (std::string_view text :
       {R"({"inputs":[{"name":"x","datatype":"INT8","shape":[1],"data":[1)",
        R"({"inputs":[{"name":"x","datatype":"INT8","shape":[1],"data":[1]}])",
        R"({"inputs":[{"name":"x","datatype":"INT8","shape":[1],"data":[1]}], "id":")",
        R"({"inputs":[{"name":"x","datatype":"INT8","shape":[1],"data":[1]}], "id":1)", "{", ""}) {
    EXPECT_TRUE(ReadThreeWays(text).starts_with("refused: ")) << text;
  }
}

// Without JSON the body is one input: the bytes of a next message are not a part of it.
TEST_F(KserveRestPieces, EndsABodyWithoutJsonWhereItEnds) {
  TensorSpec spec;
  spec.name = "x";
  spec.type = DataType::kBytes;
  spec.shape = {1};
  for (std::string_view body : {"", "a", "a long one\r\n\r\n"}) {
    const std::string said = FeedThreeWays(body, [&](const Pieces& pieces) {
      std::string gathered;
      for (std::string_view piece : pieces) gathered += piece;
      CountingAllocator allocator;
      const auto bytes = std::as_bytes(std::span(gathered)).first(body.size());
      if (!DecodeRawBinary(bytes, {&spec, 1}, false, allocator, &request_).ok())
        return std::string();
      const auto content = request_.inputs[0].tensor.bytes;
      return std::string(reinterpret_cast<const char*>(content.data()), content.size());
    });
    EXPECT_EQ(said.substr(4), body);
  }
}

}  // namespace
}  // namespace fastserve
