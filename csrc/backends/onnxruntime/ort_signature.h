// ReadSignature: what a loaded ONNX model takes and gives; and the engine's element types.
#pragma once

#include <optional>
#include <string_view>

#include "backends/onnxruntime/ort_api.h"
#include "base/status.h"
#include "serving/backend.h"
#include "tensor/data_type.h"

namespace fastserve::ort {

// Errors: INVALID_ARGUMENT that names the tensor whose type or rank the protocol cannot carry.
Result<Signature> ReadSignature(const OrtLibrary& library, const OrtSession* session);

// The protocol's type for one of the engine's; nothing where the protocol has none.
std::optional<DataType> DataTypeOf(int ort_type);

// The engine's number for that type.
int OrtTypeOf(DataType type);

// "complex64"; for messages about types that the protocol lacks.
std::string_view OrtTypeName(int ort_type);

}  // namespace fastserve::ort
