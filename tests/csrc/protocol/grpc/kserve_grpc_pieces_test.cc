// Messages that arrive in pieces: the decoder reads what was gathered, whatever lies behind it.
#include "protocol/feed_three_ways.h"
#include "protocol/grpc/kserve_grpc_fixture.h"

namespace fastserve {
namespace {

using proto::Bytes;
using proto::Entry;
using proto::Input;
using proto::Varint;

class KserveGrpcPieces : public KserveGrpc {
 protected:
  std::string ReadThreeWays(std::string_view message) {
    return FeedThreeWays(message, [&](const Pieces& pieces) {
      std::string gathered;
      for (const std::string_view piece : pieces) gathered += piece;
      // Its length stood before it.
      const Status status = Decode(std::string_view(gathered).substr(0, message.size()));
      if (!status.ok()) return StrCat("refused: ", status.message());
      std::string said(request_.model_name);
      for (size_t i = 0; i < request_.inputs.size(); ++i) {
        const Tensor& tensor = request_.inputs[i].tensor;
        said += StrCat("; ", request_.inputs[i].name, " ", DataTypeName(tensor.type),
                       tensor.shape.ToString(), " ", ContentOf(i), Said(request_.inputs[i].memory));
      }
      for (const InferOutput& output : request_.outputs) {
        said += StrCat("; ", output.name, Said(output.memory));
      }
      return said;
    });
  }
  static std::string Said(const SharedMemoryRange& memory) {
    if (!memory.is_set()) return "";
    return StrCat(" in ", memory.region, " at ", memory.offset, ", ", memory.bytes, " bytes");
  }
};

TEST_F(KserveGrpcPieces, KserveGrpcDecoderReadsAlikeHoweverItComes) {
  EXPECT_EQ(ReadThreeWays(Bytes(1, "m") + Bytes(5, Input("x", "UINT8", 3)) + Bytes(7, "abc")),
            "m; x UINT8[3] abc");
  EXPECT_EQ(ReadThreeWays(Bytes(5, Input("x", "BYTES", 1, Bytes(5, Bytes(8, "a"))))),
            StrCat("; x BYTES[1] ", std::string_view("\1\0\0\0a", 5)));
  EXPECT_TRUE(ReadThreeWays(Bytes(1, "m") + "\x0A").starts_with("refused: "));
}

TEST_F(KserveGrpcPieces, ReadsSharedMemoryAlikeHoweverItComes) {
  const std::string region = Entry("shared_memory_region", Bytes(3, "r"));
  const std::string size = Entry("shared_memory_byte_size", Varint(2, 3));
  const std::string offset = Entry("shared_memory_offset", Varint(2, 300));
  EXPECT_EQ(
      ReadThreeWays(Bytes(5, Input("x", "UINT8", 3, Bytes(4, region) + Bytes(4, size))) +
                    Bytes(5, Input("b", "UINT8", 2)) + Bytes(7, "bb") +
                    Bytes(6, Bytes(1, "y") + Bytes(2, region) + Bytes(2, offset) + Bytes(2, size))),
      "; x UINT8[3]  in r at 0, 3 bytes; b UINT8[2] bb; y in r at 300, 3 bytes");
}

}  // namespace
}  // namespace fastserve
