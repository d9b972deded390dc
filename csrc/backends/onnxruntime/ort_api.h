// OrtLibrary: ONNX Runtime's C table, bound at run time without its header.
//
// The library exports OrtGetApiBase(), which answers a table of function pointers for an API
// version. Members of that table are never moved, only appended, so an entry is known by its index
// (its "slot"). FS_ORT_SLOTS lists the few that this room calls, each with its type; the tests
// prove each of them by a real call, since a wrong slot is silent until then.
//
// Invariants: a library is never closed and its environment never released. The engine's static
// destructors and threads would race with either at exit.
// Threads: OpenOrtLibrary from any; an OrtLibrary is immutable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace fastserve::ort {

// The engine's objects; only pointers to them are ever held.
struct OrtAllocator;
struct OrtEnv;
struct OrtIoBinding;
struct OrtMemoryInfo;
struct OrtProviderOptions;
struct OrtRunOptions;
struct OrtSession;
struct OrtSessionOptions;
struct OrtStatus;
struct OrtTensorInfo;
struct OrtTypeInfo;
struct OrtValue;

// The first API version that has every slot below; 1.17 of the engine, from January 2024.
inline constexpr uint32_t kOrtApiVersion = 17;

// SLOT(index, returned type, name in the engine's documentation, parameters...)
#define FS_ORT_SLOTS(SLOT)                                                                        \
  SLOT(1, int, GetErrorCode, const OrtStatus*)                                                    \
  SLOT(2, const char*, GetErrorMessage, const OrtStatus*)                                         \
  SLOT(3, OrtStatus*, CreateEnv, int severity, const char* log_id, OrtEnv**)                      \
  SLOT(7, OrtStatus*, CreateSession, const OrtEnv*, const char* path, const OrtSessionOptions*,   \
       OrtSession**)                                                                              \
  SLOT(9, OrtStatus*, Run, OrtSession*, const OrtRunOptions*, const char* const* input_names,     \
       const OrtValue* const* inputs, size_t input_count, const char* const* output_names,        \
       size_t output_count, OrtValue** outputs)                                                   \
  SLOT(10, OrtStatus*, CreateSessionOptions, OrtSessionOptions**)                                 \
  SLOT(13, OrtStatus*, SetSessionExecutionMode, OrtSessionOptions*, int mode)                     \
  SLOT(19, OrtStatus*, DisableCpuMemArena, OrtSessionOptions*)                                    \
  SLOT(22, OrtStatus*, SetSessionLogSeverityLevel, OrtSessionOptions*, int severity)              \
  SLOT(23, OrtStatus*, SetSessionGraphOptimizationLevel, OrtSessionOptions*, int level)           \
  SLOT(24, OrtStatus*, SetIntraOpNumThreads, OrtSessionOptions*, int threads)                     \
  SLOT(25, OrtStatus*, SetInterOpNumThreads, OrtSessionOptions*, int threads)                     \
  SLOT(30, OrtStatus*, SessionGetInputCount, const OrtSession*, size_t*)                          \
  SLOT(31, OrtStatus*, SessionGetOutputCount, const OrtSession*, size_t*)                         \
  SLOT(32, OrtStatus*, SessionGetOverridableInitializerCount, const OrtSession*, size_t*)         \
  SLOT(33, OrtStatus*, SessionGetInputTypeInfo, const OrtSession*, size_t index, OrtTypeInfo**)   \
  SLOT(34, OrtStatus*, SessionGetOutputTypeInfo, const OrtSession*, size_t index, OrtTypeInfo**)  \
  SLOT(35, OrtStatus*, SessionGetOverridableInitializerTypeInfo, const OrtSession*, size_t index, \
       OrtTypeInfo**)                                                                             \
  SLOT(36, OrtStatus*, SessionGetInputName, const OrtSession*, size_t index, OrtAllocator*,       \
       char**)                                                                                    \
  SLOT(37, OrtStatus*, SessionGetOutputName, const OrtSession*, size_t index, OrtAllocator*,      \
       char**)                                                                                    \
  SLOT(38, OrtStatus*, SessionGetOverridableInitializerName, const OrtSession*, size_t index,     \
       OrtAllocator*, char**)                                                                     \
  SLOT(39, OrtStatus*, CreateRunOptions, OrtRunOptions**)                                         \
  SLOT(41, OrtStatus*, RunOptionsSetRunLogSeverityLevel, OrtRunOptions*, int severity)            \
  SLOT(48, OrtStatus*, CreateTensorAsOrtValue, OrtAllocator*, const int64_t* dims, size_t rank,   \
       int type, OrtValue**)                                                                      \
  SLOT(49, OrtStatus*, CreateTensorWithDataAsOrtValue, const OrtMemoryInfo*, void* data,          \
       size_t bytes, const int64_t* dims, size_t rank, int type, OrtValue**)                      \
  SLOT(51, OrtStatus*, GetTensorMutableData, OrtValue*, void**)                                   \
  SLOT(53, OrtStatus*, GetStringTensorDataLength, const OrtValue*, size_t* bytes)                 \
  SLOT(55, OrtStatus*, CastTypeInfoToTensorInfo, const OrtTypeInfo*, const OrtTensorInfo**)       \
  SLOT(56, OrtStatus*, GetOnnxTypeFromTypeInfo, const OrtTypeInfo*, int* type)                    \
  SLOT(60, OrtStatus*, GetTensorElementType, const OrtTensorInfo*, int* type)                     \
  SLOT(61, OrtStatus*, GetDimensionsCount, const OrtTensorInfo*, size_t* rank)                    \
  SLOT(62, OrtStatus*, GetDimensions, const OrtTensorInfo*, int64_t* dims, size_t rank)           \
  SLOT(63, OrtStatus*, GetSymbolicDimensions, const OrtTensorInfo*, const char** names,           \
       size_t rank)                                                                               \
  SLOT(65, OrtStatus*, GetTensorTypeAndShape, const OrtValue*, OrtTensorInfo**)                   \
  SLOT(69, OrtStatus*, CreateCpuMemoryInfo, int allocator_type, int memory_type, OrtMemoryInfo**) \
  SLOT(76, OrtStatus*, AllocatorFree, OrtAllocator*, void*)                                       \
  SLOT(78, OrtStatus*, GetAllocatorWithDefaultOptions, OrtAllocator**)                            \
  SLOT(93, void, ReleaseStatus, OrtStatus*)                                                       \
  SLOT(95, void, ReleaseSession, OrtSession*)                                                     \
  SLOT(96, void, ReleaseValue, OrtValue*)                                                         \
  SLOT(97, void, ReleaseRunOptions, OrtRunOptions*)                                               \
  SLOT(98, void, ReleaseTypeInfo, OrtTypeInfo*)                                                   \
  SLOT(99, void, ReleaseTensorTypeAndShapeInfo, OrtTensorInfo*)                                   \
  SLOT(100, void, ReleaseSessionOptions, OrtSessionOptions*)                                      \
  SLOT(125, OrtStatus*, GetAvailableProviders, char*** names, int* count)                         \
  SLOT(126, OrtStatus*, ReleaseAvailableProviders, char** names, int count)                       \
  SLOT(127, OrtStatus*, GetStringTensorElementLength, const OrtValue*, size_t index,              \
       size_t* bytes)                                                                             \
  SLOT(128, OrtStatus*, GetStringTensorElement, const OrtValue*, size_t bytes, size_t index,      \
       void* text)                                                                                \
  SLOT(130, OrtStatus*, AddSessionConfigEntry, OrtSessionOptions*, const char* key,               \
       const char* value)                                                                         \
  SLOT(133, OrtStatus*, RunWithBinding, OrtSession*, const OrtRunOptions*, const OrtIoBinding*)   \
  SLOT(134, OrtStatus*, CreateIoBinding, OrtSession*, OrtIoBinding**)                             \
  SLOT(135, void, ReleaseIoBinding, OrtIoBinding*)                                                \
  SLOT(136, OrtStatus*, BindInput, OrtIoBinding*, const char* name, const OrtValue*)              \
  SLOT(137, OrtStatus*, BindOutput, OrtIoBinding*, const char* name, const OrtValue*)             \
  SLOT(170, OrtStatus*, SessionOptionsAppendExecutionProvider_TensorRT_V2, OrtSessionOptions*,    \
       const OrtProviderOptions*)                                                                 \
  SLOT(171, OrtStatus*, CreateTensorRTProviderOptions, OrtProviderOptions**)                      \
  SLOT(172, OrtStatus*, UpdateTensorRTProviderOptions, OrtProviderOptions*,                       \
       const char* const* keys, const char* const* values, size_t count)                          \
  SLOT(174, void, ReleaseTensorRTProviderOptions, OrtProviderOptions*)                            \
  SLOT(204, OrtStatus*, SessionOptionsAppendExecutionProvider_CUDA_V2, OrtSessionOptions*,        \
       const OrtProviderOptions*)                                                                 \
  SLOT(205, OrtStatus*, CreateCUDAProviderOptions, OrtProviderOptions**)                          \
  SLOT(206, OrtStatus*, UpdateCUDAProviderOptions, OrtProviderOptions*, const char* const* keys,  \
       const char* const* values, size_t count)                                                   \
  SLOT(208, void, ReleaseCUDAProviderOptions, OrtProviderOptions*)                                \
  SLOT(216, OrtStatus*, SessionOptionsAppendExecutionProvider, OrtSessionOptions*,                \
       const char* name, const char* const* keys, const char* const* values, size_t count)        \
  SLOT(252, OrtStatus*, GetResizedStringTensorElementBuffer, OrtValue*, size_t index,             \
       size_t bytes, char** text)

struct OrtApi {
#define FS_ORT_MEMBER(index, returned, name, ...) returned (*name)(__VA_ARGS__);
  FS_ORT_SLOTS(FS_ORT_MEMBER)
#undef FS_ORT_MEMBER

  // Takes over what a call returned: ok for null, else the engine's own sentence after `doing`.
  // `otherwise` is the code for the engine's failures that say nothing of whose fault they are.
  Status Take(OrtStatus* error, Code otherwise, std::string_view doing) const;
};

// What OrtGetApiBase() returns.
struct OrtApiBase {
  const void* const* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};

// One of the engine's objects, released by its own slot.
template <typename T>
using Owned = std::unique_ptr<T, void (*)(T*)>;

struct OrtLibrary {
  OrtApi api;
  std::string version;  // "1.32.0"
  OrtEnv* env = nullptr;
  OrtAllocator* allocator = nullptr;  // The engine's default one; for names and strings.
  const OrtMemoryInfo* cpu_memory =
      nullptr;  // Says that bytes wrapped without a copy are on the CPU.
};

// The table of `base`; FAILED_PRECONDITION, with the version found, when it is too old.
Result<OrtApi> BindOrtApi(const OrtApiBase& base);

// Opens the library at `path` (the linker's search when empty); at the second call for a path
// answers the first's. A failure is not remembered, so that an installation in between is seen.
Result<const OrtLibrary*> OpenOrtLibrary(const std::string& path);

}  // namespace fastserve::ort
