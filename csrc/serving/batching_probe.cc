#include "serving/batching_probe.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "memory/slab_pool.h"
#include "serving/random_values.h"

namespace fastserve {
namespace {

constexpr size_t kRows = 5;

// ------------------------------------------------------------------------------------------------
// 16-bit floats.

double FromHalf(uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1f;
  const int fraction = bits & 0x3ff;
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == 0x1f) return fraction != 0 ? std::nan("") : sign * HUGE_VAL;
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(fraction + 1024, exponent - 25);
}

double FromBrainFloat(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value = 0;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

// ------------------------------------------------------------------------------------------------
// Values.

struct Tolerance {
  double relative;
  double absolute;
};

// Kernels of another batch size add in another order.
bool Near(double a, double b, Tolerance tolerance) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  if (a == b) return true;  // Infinities too.
  const double larger = std::max(std::abs(a), std::abs(b));
  return std::abs(a - b) <= tolerance.absolute + tolerance.relative * larger;
}

template <typename T, typename Convert>
bool AllNear(const std::string& a, const std::string& b, Tolerance tolerance, Convert convert) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i + sizeof(T) <= a.size(); i += sizeof(T)) {
    T x;
    T y;
    std::memcpy(&x, a.data() + i, sizeof x);
    std::memcpy(&y, b.data() + i, sizeof y);
    if (!Near(convert(x), convert(y), tolerance)) return false;
  }
  return true;
}

bool SameValues(DataType type, const std::string& a, const std::string& b) {
  const auto as_double = [](auto value) { return static_cast<double>(value); };
  switch (type) {
    case DataType::kFp32:
      return AllNear<float>(a, b, {1e-3, 1e-5}, as_double);
    case DataType::kFp64:
      return AllNear<double>(a, b, {1e-3, 1e-5}, as_double);
    case DataType::kFp16:  // About 3 of its steps.
      return AllNear<uint16_t>(a, b, {3e-3, 1e-4}, FromHalf);
    case DataType::kBf16:
      return AllNear<uint16_t>(a, b, {3e-2, 1e-3}, FromBrainFloat);
    default:
      return a == b;
  }
}

// ------------------------------------------------------------------------------------------------
// The probe.

struct Answer {
  Shape shape;
  std::string bytes;
};
using Answers = std::vector<Answer>;  // One for each output.

// Copies what the engine answers, since its memory may be used again.
class CopyingSink : public OutputSink {
 public:
  CopyingSink(size_t outputs, SlabPool* pool) : answers(outputs), pool_(pool) {}
  void Add(size_t index, const Tensor& tensor, BufferRef) override {
    answers[index] = {tensor.shape,
                      {reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()}};
  }
  void EndResponse() override { ++responses; }
  BufferRef Allocate(size_t bytes) override { return pool_->Acquire(bytes); }

  Answers answers;
  int responses = 0;

 private:
  SlabPool* const pool_;
};

// How long the dynamic dimensions of the inputs are tried. Those of equal names are equal; so are
// all without a name.
class Lengths {
 public:
  // `step` 0 makes all dimensions equal; 1 gives other names other lengths from 2 to 4.
  Lengths(size_t first, size_t step) : first_(first), step_(step) {}

  int64_t Of(const TensorSpec& spec, size_t axis) {
    const std::string name = axis < spec.dim_names.size() ? spec.dim_names[axis] : "";
    const size_t number = lengths_.try_emplace(name, lengths_.size()).first->second;
    return static_cast<int64_t>(2 + (first_ + number * step_) % 3);
  }

 private:
  const size_t first_;
  const size_t step_;
  std::map<std::string, size_t> lengths_;
};

class Probe {
 public:
  Probe(const Signature& signature, ModelInstance& instance)
      : signature_(signature), instance_(instance), pool_(SlabPool::Create({})) {}

  // Makes rows up and learns what each gives alone. Errors: the engine's.
  Status LearnRows(uint64_t seed, Lengths lengths);
  // Runs these rows together; why they did not answer as each did alone, or nothing.
  std::optional<std::string> Disagreement(const std::vector<size_t>& rows);

 private:
  Result<Answers> Run(const std::vector<size_t>& rows);
  std::optional<std::string> Compare(size_t output, Answer& answer,
                                     const std::vector<size_t>& rows) const;

  const Signature& signature_;
  ModelInstance& instance_;
  const std::unique_ptr<SlabPool> pool_;
  std::vector<Shape> shapes_;                   // Of one row of each input, with its 1 in front.
  std::vector<std::vector<std::string>> rows_;  // rows_[r][i]: bytes of row r of input i.
  std::vector<Answers> alone_;
};

Status Probe::LearnRows(uint64_t seed, Lengths lengths) {
  std::mt19937_64 random(seed);
  shapes_.clear();
  for (const TensorSpec& spec : signature_.inputs) {
    Shape& shape = shapes_.emplace_back(spec.shape);
    shape.Set(0, 1);
    for (size_t axis = 1; axis < shape.rank(); ++axis) {
      if (shape[axis] < 0) shape.Set(axis, lengths.Of(spec, axis));
    }
  }
  rows_.assign(kRows, std::vector<std::string>(shapes_.size()));
  for (std::vector<std::string>& row : rows_) {
    for (size_t i = 0; i < shapes_.size(); ++i) {
      const int64_t elements = shapes_[i].Elements().value_or(0);
      for (int64_t e = 0; e < elements; ++e) {
        AppendRandom(signature_.inputs[i].type, random, &row[i]);
      }
    }
  }
  alone_.clear();
  for (size_t r = 0; r < kRows; ++r) {
    Result<Answers> answers = Run({r});
    if (!answers.ok()) return std::move(answers).status();
    alone_.push_back(*std::move(answers));
  }
  return {};
}

Result<Answers> Probe::Run(const std::vector<size_t>& rows) {
  std::vector<BatchInput> inputs(shapes_.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    std::string bytes;
    for (const size_t r : rows) bytes += rows_[r][i];
    inputs[i].owner = pool_->Acquire(bytes.size());
    if (!inputs[i].owner) return ResourceExhausted("no memory for ", bytes.size(), " bytes");
    if (!bytes.empty()) std::memcpy(inputs[i].owner->data(), bytes.data(), bytes.size());
    Tensor& tensor = inputs[i].tensor;
    tensor = {signature_.inputs[i].type, shapes_[i], inputs[i].owner->bytes().first(bytes.size())};
    tensor.shape.Set(0, static_cast<int64_t>(rows.size()));
  }
  CopyingSink sink(signature_.outputs.size(), pool_.get());
  FS_RETURN_IF_ERROR(instance_.Run(inputs, static_cast<int64_t>(rows.size()), sink));
  if (sink.responses != 1) return Internal("it responds ", sink.responses, " times to one run");
  return std::move(sink.answers);
}

std::optional<std::string> Probe::Disagreement(const std::vector<size_t>& rows) {
  Result<Answers> together = Run(rows);
  if (!together.ok()) {
    return StrCat("a batch of ", rows.size(), " fails: ", together.status().message());
  }
  for (size_t i = 0; i < together->size(); ++i) {
    if (auto why = Compare(i, (*together)[i], rows)) return why;
  }
  return std::nullopt;
}

std::optional<std::string> Probe::Compare(size_t output, Answer& answer,
                                          const std::vector<size_t>& rows) const {
  const TensorSpec& spec = signature_.outputs[output];
  const auto say = [&spec](const auto&... parts) {
    return StrCat("output '", spec.name, "': ", parts...);
  };
  Shape expected = alone_[rows[0]][output].shape;
  if (expected.rank() == 0 || expected[0] != 1) {
    return say("a single row gives shape ", expected.ToString());
  }
  expected.Set(0, static_cast<int64_t>(rows.size()));
  if (!(answer.shape == expected)) {
    return say("a batch of ", rows.size(), " gives shape ", answer.shape.ToString());
  }
  size_t offset = 0;
  for (const size_t r : rows) {
    const Answer& alone = alone_[r][output];
    if (!(alone.shape.Row() == expected.Row())) return say("its rows differ in shape");
    // Elements of any length: a row that is equal has the length that it has alone.
    const std::string part = answer.bytes.substr(offset, alone.bytes.size());
    if (!SameValues(spec.type, part, alone.bytes)) {
      return say("a row in a batch of ", rows.size(), " differs from the same row ",
                 rows.size() == 1 ? "before" : "alone");
    }
    offset += part.size();
  }
  if (offset != answer.bytes.size()) return say("a batch has more bytes than its rows alone");
  return std::nullopt;
}

std::optional<std::string> NoBatchDimension(const char* kind, std::span<const TensorSpec> specs) {
  if (specs.empty()) return StrCat("it has no ", kind);
  for (const TensorSpec& spec : specs) {
    if (spec.shape.rank() == 0 || spec.shape[0] != -1) {
      return StrCat(kind, " '", spec.name, "' of shape ", spec.shape.ToString(),
                    " has no first dimension of any length");
    }
    for (size_t axis = 1; axis < spec.dim_names.size() && axis < spec.shape.rank(); ++axis) {
      if (spec.shape[axis] == -1 && !spec.dim_names[0].empty() &&
          spec.dim_names[axis] == spec.dim_names[0]) {
        return StrCat(kind, " '", spec.name, "' has the batch dimension twice");
      }
    }
  }
  return std::nullopt;
}

std::string Shortened(const std::string& message) {
  constexpr size_t kCharactersMax = 160;
  const std::string line = message.substr(0, message.find('\n'));
  return line.size() <= kCharactersMax ? line : line.substr(0, kCharactersMax) + "...";
}

BatchingVerdict No(const std::string& why) { return {false, Shortened(why)}; }

}  // namespace

BatchingVerdict ProbeBatching(Backend& backend, uint64_t seed) {
  const Signature& signature = backend.signature();
  if (const auto why = NoBatchDimension("input", signature.inputs)) return No(*why);
  if (const auto why = NoBatchDimension("output", signature.outputs)) return No(*why);
  Result<std::unique_ptr<ModelInstance>> instance = backend.NewInstance();
  if (!instance.ok()) return No(instance.status().message());
  Probe probe(signature, **instance);

  // A model may want its dimensions equal, or not so; the first that it takes will do.
  Status status;
  for (const auto& [first, step] : {std::pair<size_t, size_t>{1, 0}, {0, 1}, {2, 0}}) {
    status = probe.LearnRows(seed, Lengths(first, step));
    if (status.ok()) break;
  }
  if (!status.ok()) return No(StrCat("it cannot be tried: ", status.message()));

  std::vector<std::vector<size_t>> batches = {{2, 0, 1}, {4, 2, 0, 3, 1}, {1, 3, 4, 0, 2, 1, 0}};
  for (size_t r = 0; r < kRows; ++r) batches.push_back({r, r});
  // At last each alone once more: a model with a state has moved on.
  for (size_t r = 0; r < kRows; ++r) batches.push_back({r});
  for (const std::vector<size_t>& rows : batches) {
    if (const auto why = probe.Disagreement(rows)) return No(*why);
  }
  return {true, "its rows are independent"};
}

}  // namespace fastserve
