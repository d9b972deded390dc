#include "backends/onnxruntime/ort_signature.h"

#include <array>
#include <optional>
#include <utility>
#include <vector>

namespace fastserve::ort {
namespace {

struct ElementType {
  std::string_view name;
  std::optional<DataType> type;
};

// Indexed by the engine's number: ONNX's TensorProto.DataType as its C API renumbers it.
constexpr std::array<ElementType, 24> kTypes = {{
    {"undefined", std::nullopt},      {"float", DataType::kFp32},
    {"uint8", DataType::kUint8},      {"int8", DataType::kInt8},
    {"uint16", DataType::kUint16},    {"int16", DataType::kInt16},
    {"int32", DataType::kInt32},      {"int64", DataType::kInt64},
    {"string", DataType::kBytes},     {"bool", DataType::kBool},
    {"float16", DataType::kFp16},     {"double", DataType::kFp64},
    {"uint32", DataType::kUint32},    {"uint64", DataType::kUint64},
    {"complex64", std::nullopt},      {"complex128", std::nullopt},
    {"bfloat16", DataType::kBf16},    {"float8e4m3fn", std::nullopt},
    {"float8e4m3fnuz", std::nullopt}, {"float8e5m2", std::nullopt},
    {"float8e5m2fnuz", std::nullopt}, {"uint4", std::nullopt},
    {"int4", std::nullopt},           {"float4e2m1", std::nullopt},
}};

constexpr std::array<int, kDataTypeCount> Inverse() {
  std::array<int, kDataTypeCount> numbers{};
  for (size_t i = 0; i < kTypes.size(); ++i) {
    if (kTypes[i].type) numbers[static_cast<size_t>(*kTypes[i].type)] = static_cast<int>(i);
  }
  return numbers;
}
constexpr std::array<int, kDataTypeCount> kNumbers = Inverse();

bool IsListed(int ort_type) {
  return ort_type >= 0 && static_cast<size_t>(ort_type) < kTypes.size();
}

constexpr int kOrtTensor = 1;
constexpr std::array<std::string_view, 7> kOrtKinds = {
    "nothing known",   "a tensor",        "a sequence",        "a map",
    "an opaque value", "a sparse tensor", "an optional value",
};

// The slots that describe one of the model's three lists of tensors.
struct List {
  std::string_view kind;  // "input" or "output", for messages.
  bool optional;
  OrtStatus* (*OrtApi::*count)(const OrtSession*, size_t*);
  OrtStatus* (*OrtApi::*name)(const OrtSession*, size_t, OrtAllocator*, char**);
  OrtStatus* (*OrtApi::*type)(const OrtSession*, size_t, OrtTypeInfo**);
};

constexpr List kInputs = {"input", false, &OrtApi::SessionGetInputCount,
                          &OrtApi::SessionGetInputName, &OrtApi::SessionGetInputTypeInfo};
constexpr List kInitializers = {"input", true, &OrtApi::SessionGetOverridableInitializerCount,
                                &OrtApi::SessionGetOverridableInitializerName,
                                &OrtApi::SessionGetOverridableInitializerTypeInfo};
constexpr List kOutputs = {"output", false, &OrtApi::SessionGetOutputCount,
                           &OrtApi::SessionGetOutputName, &OrtApi::SessionGetOutputTypeInfo};

class Reader {
 public:
  Reader(const OrtLibrary& library, const OrtSession* session)
      : library_(library), api_(library.api), session_(session) {}

  Status Append(const List& list, std::vector<TensorSpec>& specs) const {
    size_t count = 0;
    FS_RETURN_IF_ERROR(Take((api_.*list.count)(session_, &count)));
    for (size_t i = 0; i < count; ++i) {
      TensorSpec spec;
      spec.optional = list.optional;
      FS_RETURN_IF_ERROR(ReadName(list, i, spec));
      OrtTypeInfo* info = nullptr;
      FS_RETURN_IF_ERROR(Take((api_.*list.type)(session_, i, &info)));
      const Owned<OrtTypeInfo> owned(info, api_.ReleaseTypeInfo);
      FS_RETURN_IF_ERROR(ReadType(list, info, spec));
      specs.push_back(std::move(spec));
    }
    return {};
  }

 private:
  Status Take(OrtStatus* error) const {
    return api_.Take(error, Code::kInvalidArgument, "the model's signature");
  }

  Status ReadName(const List& list, size_t index, TensorSpec& spec) const {
    char* name = nullptr;
    FS_RETURN_IF_ERROR(Take((api_.*list.name)(session_, index, library_.allocator, &name)));
    spec.name = name;
    return Take(api_.AllocatorFree(library_.allocator, name));
  }

  Status ReadType(const List& list, const OrtTypeInfo* info, TensorSpec& spec) const {
    int kind = 0;
    FS_RETURN_IF_ERROR(Take(api_.GetOnnxTypeFromTypeInfo(info, &kind)));
    if (kind != kOrtTensor) {
      const bool listed = kind >= 0 && static_cast<size_t>(kind) < kOrtKinds.size();
      return InvalidArgument(list.kind, " '", spec.name, "' is ",
                             listed ? kOrtKinds[static_cast<size_t>(kind)] : "of an unknown kind",
                             "; only tensors can be served");
    }
    const OrtTensorInfo* tensor = nullptr;  // Belongs to `info`.
    FS_RETURN_IF_ERROR(Take(api_.CastTypeInfoToTensorInfo(info, &tensor)));
    int element = 0;
    FS_RETURN_IF_ERROR(Take(api_.GetTensorElementType(tensor, &element)));
    const std::optional<DataType> type = DataTypeOf(element);
    if (!type) {
      return InvalidArgument(list.kind, " '", spec.name, "' has elements of ", OrtTypeName(element),
                             ", which the protocol cannot carry");
    }
    spec.type = *type;
    return ReadShape(list, tensor, spec);
  }

  Status ReadShape(const List& list, const OrtTensorInfo* tensor, TensorSpec& spec) const {
    size_t rank = 0;
    FS_RETURN_IF_ERROR(Take(api_.GetDimensionsCount(tensor, &rank)));
    if (rank > Shape::kMaxRank) {
      return InvalidArgument(list.kind, " '", spec.name, "' has ", rank,
                             " dimensions, expected at most ", Shape::kMaxRank);
    }
    std::array<int64_t, Shape::kMaxRank> dims;
    std::array<const char*, Shape::kMaxRank> names{};
    FS_RETURN_IF_ERROR(Take(api_.GetDimensions(tensor, dims.data(), rank)));
    FS_RETURN_IF_ERROR(Take(api_.GetSymbolicDimensions(tensor, names.data(), rank)));
    spec.shape = Shape(std::span(dims.data(), rank));
    for (size_t axis = 0; axis < rank; ++axis) {
      spec.dim_names.emplace_back(names[axis] == nullptr ? "" : names[axis]);
    }
    return {};
  }

  const OrtLibrary& library_;
  const OrtApi& api_;
  const OrtSession* session_;
};

}  // namespace

Result<Signature> ReadSignature(const OrtLibrary& library, const OrtSession* session) {
  const Reader reader(library, session);
  Signature signature;
  signature.platform = "onnxruntime_onnx";
  FS_RETURN_IF_ERROR(reader.Append(kInputs, signature.inputs));
  FS_RETURN_IF_ERROR(reader.Append(kInitializers, signature.inputs));
  FS_RETURN_IF_ERROR(reader.Append(kOutputs, signature.outputs));
  return signature;
}

std::optional<DataType> DataTypeOf(int ort_type) {
  return IsListed(ort_type) ? kTypes[static_cast<size_t>(ort_type)].type : std::nullopt;
}

int OrtTypeOf(DataType type) { return kNumbers[static_cast<size_t>(type)]; }

std::string_view OrtTypeName(int ort_type) {
  return IsListed(ort_type) ? kTypes[static_cast<size_t>(ort_type)].name : "an unknown type";
}

}  // namespace fastserve::ort
