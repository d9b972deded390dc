#include <bit>
#include <cmath>
#include <random>

#include "protocol/kserve_rest.h"
#include "protocol/kserve_rest_fixture.h"

namespace fastserve {
namespace {

// Tensors drawn from a seed, answered and read again: what JSON and binary data carry must be what
// was put in, to the bit.
class KserveRestRoundTrip : public KserveRest {
 protected:
  struct Drawn {
    std::string name;
    std::string bytes;
    InferResultOutput output;
  };

  uint64_t Below(uint64_t limit) { return random_() % limit; }

  // Rank 0 to 4, now and then without elements.
  Shape DrawShape() {
    Shape shape;
    for (uint64_t rank = Below(5); shape.rank() < rank;) {
      EXPECT_TRUE(shape.Append(static_cast<int64_t>(Below(20) == 0 ? 0 : 1 + Below(4))));
    }
    return shape;
  }

  // Any code point but surrogates, those that must be escaped more often.
  std::string DrawText() {
    std::string text;
    for (uint64_t i = Below(6); i > 0; --i) {
      const uint32_t point = Below(2) == 0 ? static_cast<uint32_t>(Below(128))
                                           : static_cast<uint32_t>(Below(0x110000));
      if (point < 0x80) {
        text += static_cast<char>(point);
      } else if (point < 0x800) {
        text += {static_cast<char>(0xC0 | point >> 6), static_cast<char>(0x80 | (point & 63))};
      } else if (point >= 0xD800 && point < 0xE000) {
        text += '"';
      } else if (point < 0x10000) {
        text += {static_cast<char>(0xE0 | point >> 12), static_cast<char>(0x80 | (point >> 6 & 63)),
                 static_cast<char>(0x80 | (point & 63))};
      } else {
        text +=
            {static_cast<char>(0xF0 | point >> 18), static_cast<char>(0x80 | (point >> 12 & 63)),
             static_cast<char>(0x80 | (point >> 6 & 63)), static_cast<char>(0x80 | (point & 63))};
      }
    }
    return text;
  }

  // One element: random bits cover all exponents, small numbers what people send.
  std::string DrawElement(DataType type) {
    const auto bytes_of = [](auto value) {
      return std::string(reinterpret_cast<const char*>(&value), sizeof value);
    };
    switch (type) {
      case DataType::kBool:
        return bytes_of(static_cast<uint8_t>(Below(2)));
      case DataType::kFp32: {
        const float value = std::bit_cast<float>(static_cast<uint32_t>(random_()));
        if (std::isfinite(value) && Below(2) == 0) return bytes_of(value);
        return bytes_of(static_cast<float>(std::normal_distribution<>()(random_)));
      }
      case DataType::kFp64: {
        const double value = std::bit_cast<double>(random_());
        if (std::isfinite(value) && Below(2) == 0) return bytes_of(value);
        return bytes_of(std::normal_distribution<>()(random_));
      }
      case DataType::kBytes: {
        const std::string text = DrawText();
        return bytes_of(static_cast<uint32_t>(text.size())) + text;
      }
      default: {
        const uint64_t bits = Below(2) == 0 ? random_() : Below(100) - 50;
        return bytes_of(bits).substr(0, ElementBytes(type));
      }
    }
  }

  Drawn Draw(size_t index) {
    Drawn drawn;
    drawn.name = StrCat(DrawText(), index);
    const DataType type = static_cast<DataType>(Below(kDataTypeCount));
    const bool has_json = type != DataType::kFp16 && type != DataType::kBf16;
    const Shape shape = DrawShape();
    for (int64_t i = 0; i < shape.Elements(); ++i) drawn.bytes += DrawElement(type);
    drawn.output = {{}, {type, shape, {}}, !has_json || Below(3) == 0};
    return drawn;
  }

  std::mt19937_64 random_;
};

TEST_F(KserveRestRoundTrip, GivesBackWhatWasPutInForEveryType) {
  for (uint64_t seed = 0; seed < 1500; ++seed) {
    SCOPED_TRACE(StrCat("seed ", seed));
    random_.seed(seed);
    std::vector<Drawn> drawn(Below(5));
    std::vector<InferResultOutput> outputs;
    std::string tail;
    for (size_t i = 0; i < drawn.size(); ++i) {
      drawn[i] = Draw(i);
      drawn[i].output.name = drawn[i].name;
      drawn[i].output.tensor.bytes = std::as_bytes(std::span(drawn[i].bytes));
      outputs.push_back(drawn[i].output);
      if (drawn[i].output.binary) tail += drawn[i].bytes;
    }
    const std::string id = DrawText();
    ByteWriter out;
    ExpectOk(EncodeInferResponse({"m", "1", id, true}, outputs, &out));
    std::string json(out.view());
    const std::string_view key = R"("model_version":"1","outputs":)";
    json.replace(json.find(key), key.size(), R"("inputs":)");

    ExpectOk(Decode(json, tail));
    EXPECT_EQ(request_.id, id);
    ASSERT_EQ(request_.inputs.size(), drawn.size());
    for (size_t i = 0; i < drawn.size(); ++i) {
      const Tensor& tensor = request_.inputs[i].tensor;
      EXPECT_EQ(request_.inputs[i].name, drawn[i].name);
      EXPECT_EQ(DataTypeName(tensor.type), DataTypeName(drawn[i].output.tensor.type));
      EXPECT_EQ(tensor.shape, drawn[i].output.tensor.shape);
      EXPECT_EQ(
          std::string_view(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()),
          drawn[i].bytes);
    }
    if (HasFailure()) break;
  }
}

// The tail too may be cut anywhere, and the head may claim any part of the body.
TEST_F(KserveRestRoundTrip, RefusesEveryPrefixOfABinaryRequest) {
  const std::string json =
      R"({"inputs":[{"name":"a","shape":[2],"datatype":"INT16","parameters":)"
      R"({"binary_data_size":4}},{"name":"b","shape":[2],"datatype":"BYTES","parameters":)"
      R"({"binary_data_size":9}}]})";
  const std::string_view tail("abcd\1\0\0\0x\0\0\0\0", 13);
  ExpectOk(Decode(json, tail));
  for (size_t size = 0; size < tail.size(); ++size) {
    EXPECT_FALSE(Decode(json, tail.substr(0, size)).ok()) << size;
  }
  const std::string body = json + std::string(tail) + std::string(64, '1');
  for (uint64_t header_bytes = 0; header_bytes < body.size(); ++header_bytes) {
    const auto bytes = std::as_bytes(std::span(body)).first(body.size() - 64);
    EXPECT_EQ(decoder_.Decode(bytes, header_bytes, allocator_, &request_).ok(),
              header_bytes == json.size())
        << header_bytes;
  }
}

}  // namespace
}  // namespace fastserve
