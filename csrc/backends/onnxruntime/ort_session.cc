#include "backends/onnxruntime/ort_session.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include "backends/onnxruntime/ort_signature.h"

namespace fastserve::ort {
namespace {

struct OptimizationLevel {
  std::string_view name;
  int level;
};
constexpr std::array<OptimizationLevel, 4> kOptimizationLevels = {
    {{"none", 0}, {"basic", 1}, {"extended", 2}, {"all", 99}}};

constexpr std::string_view kCpuProvider = "CPUExecutionProvider";
constexpr int kOrtFatal = 4;  // The least talkative of the engine's severities.
constexpr int kOrtSequential = 0;
constexpr int kOrtParallel = 1;

Result<int> OptimizationLevelOf(const std::string& name) {
  for (const OptimizationLevel& level : kOptimizationLevels) {
    if (level.name == name) return level.level;
  }
  return InvalidArgument("optimization is '", name, "', expected none, basic, extended or all");
}

Status CheckOptions(const OnnxRuntimeOptions& options) {
  if (options.intra_op_threads < 0 || options.inter_op_threads < 0) {
    return InvalidArgument("intra_op_threads is ", options.intra_op_threads,
                           " and inter_op_threads ", options.inter_op_threads,
                           ", expected at least 0");
  }
  if (options.log_severity < 0 || options.log_severity > 4) {
    return InvalidArgument("log_severity is ", options.log_severity, ", expected 0 to 4");
  }
  std::error_code error;
  const std::filesystem::file_status file = std::filesystem::status(options.model_path, error);
  if (!std::filesystem::exists(file)) {
    return NotFound("no model file at '", options.model_path, "'");
  }
  if (!std::filesystem::is_regular_file(file)) {
    return InvalidArgument("'", options.model_path, "' is not a file");
  }
  return {};
}

// Options as the engine takes them; points into the provider.
struct KeysAndValues {
  explicit KeysAndValues(const OnnxRuntimeProvider& provider) {
    for (const auto& [key, value] : provider.options) {
      keys.push_back(key.c_str());
      values.push_back(value.c_str());
    }
  }
  std::vector<const char*> keys;
  std::vector<const char*> values;
};

// Providers that the generic slot does not take; each has four slots of its own.
struct OwnSlots {
  std::string_view name;
  OrtStatus* (*OrtApi::*create)(OrtProviderOptions**);
  OrtStatus* (*OrtApi::*update)(OrtProviderOptions*, const char* const*, const char* const*,
                                size_t);
  OrtStatus* (*OrtApi::*append)(OrtSessionOptions*, const OrtProviderOptions*);
  void (*OrtApi::*release)(OrtProviderOptions*);
};

constexpr std::array<OwnSlots, 2> kOwnSlots = {{
    {"CUDAExecutionProvider", &OrtApi::CreateCUDAProviderOptions,
     &OrtApi::UpdateCUDAProviderOptions, &OrtApi::SessionOptionsAppendExecutionProvider_CUDA_V2,
     &OrtApi::ReleaseCUDAProviderOptions},
    {"TensorrtExecutionProvider", &OrtApi::CreateTensorRTProviderOptions,
     &OrtApi::UpdateTensorRTProviderOptions,
     &OrtApi::SessionOptionsAppendExecutionProvider_TensorRT_V2,
     &OrtApi::ReleaseTensorRTProviderOptions},
}};

// The generic slot calls some providers otherwise than the list of those available does.
constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kGenericNames = {{
    {"AzureExecutionProvider", "AZURE"},
    {"CoreMLExecutionProvider", "CoreML"},
    {"OpenVINOExecutionProvider", "OpenVINO"},
    {"QNNExecutionProvider", "QNN"},
    {"SNPEExecutionProvider", "SNPE"},
    {"VitisAIExecutionProvider", "VitisAI"},
    {"WebGpuExecutionProvider", "WebGPU"},
    {"XnnpackExecutionProvider", "XNNPACK"},
}};

Result<std::vector<std::string>> AvailableProviders(const OrtApi& api) {
  char** names = nullptr;
  int count = 0;
  FS_RETURN_IF_ERROR(api.Take(api.GetAvailableProviders(&names, &count), Code::kInternal,
                              "ONNX Runtime's list of execution providers"));
  std::vector<std::string> available(names, names + count);
  FS_RETURN_IF_ERROR(api.Take(api.ReleaseAvailableProviders(names, count), Code::kInternal,
                              "ONNX Runtime's list of execution providers"));
  return available;
}

std::string Joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

Status AppendByOwnSlots(const OrtApi& api, const OwnSlots& slots,
                        const OnnxRuntimeProvider& provider, OrtSessionOptions* session_options) {
  const std::string doing = StrCat("execution provider '", provider.name, "'");
  OrtProviderOptions* options = nullptr;
  FS_RETURN_IF_ERROR(api.Take((api.*slots.create)(&options), Code::kFailedPrecondition, doing));
  const Owned<OrtProviderOptions> owned(options, api.*slots.release);
  const KeysAndValues entries(provider);
  FS_RETURN_IF_ERROR(api.Take(
      (api.*slots.update)(options, entries.keys.data(), entries.values.data(), entries.keys.size()),
      Code::kFailedPrecondition, doing));
  return api.Take((api.*slots.append)(session_options, options), Code::kFailedPrecondition, doing);
}

Status AppendByName(const OrtApi& api, const OnnxRuntimeProvider& provider,
                    OrtSessionOptions* session_options) {
  std::string name = provider.name;
  for (const auto& [listed, generic] : kGenericNames) {
    if (listed == name) name = generic;
  }
  const KeysAndValues entries(provider);
  return api.Take(
      api.SessionOptionsAppendExecutionProvider(session_options, name.c_str(), entries.keys.data(),
                                                entries.values.data(), entries.keys.size()),
      Code::kFailedPrecondition, StrCat("execution provider '", provider.name, "'"));
}

Status AppendProviders(const OrtApi& api, const std::vector<OnnxRuntimeProvider>& providers,
                       OrtSessionOptions* session_options) {
  if (providers.empty()) return {};
  Result<std::vector<std::string>> available = AvailableProviders(api);
  if (!available.ok()) return available.status();
  for (const OnnxRuntimeProvider& provider : providers) {
    if (std::ranges::find(*available, provider.name) == available->end()) {
      return FailedPrecondition(
          "execution provider '", provider.name,
          "' is not in this build of ONNX Runtime; available: ", Joined(*available));
    }
    if (provider.name == kCpuProvider) continue;  // Always there, always last.
    const auto own = std::ranges::find(kOwnSlots, provider.name, &OwnSlots::name);
    FS_RETURN_IF_ERROR(own != kOwnSlots.end()
                           ? AppendByOwnSlots(api, *own, provider, session_options)
                           : AppendByName(api, provider, session_options));
  }
  return {};
}

// Fills the engine's session options.
class Configurator {
 public:
  Configurator(const OrtApi& api, OrtSessionOptions* target) : api_(api), target_(target) {}

  Status Apply(const OnnxRuntimeOptions& options) const {
    Result<int> level = OptimizationLevelOf(options.optimization);
    if (!level.ok()) return level.status();
    FS_RETURN_IF_ERROR(Take(api_.SetSessionGraphOptimizationLevel(target_, *level)));
    FS_RETURN_IF_ERROR(Take(api_.SetIntraOpNumThreads(target_, options.intra_op_threads)));
    FS_RETURN_IF_ERROR(Take(api_.SetInterOpNumThreads(target_, options.inter_op_threads)));
    // The sequential mode never uses the pool between operators.
    FS_RETURN_IF_ERROR(Take(api_.SetSessionExecutionMode(
        target_, options.inter_op_threads == 1 ? kOrtSequential : kOrtParallel)));
    FS_RETURN_IF_ERROR(Take(api_.SetSessionLogSeverityLevel(target_, options.log_severity)));
    if (!options.arena) FS_RETURN_IF_ERROR(Take(api_.DisableCpuMemArena(target_)));
    const char* spinning = options.spinning ? "1" : "0";
    FS_RETURN_IF_ERROR(AddEntry("session.intra_op.allow_spinning", spinning));
    FS_RETURN_IF_ERROR(AddEntry("session.inter_op.allow_spinning", spinning));
    for (const auto& [key, value] : options.session_config) {
      FS_RETURN_IF_ERROR(AddEntry(key.c_str(), value.c_str()));
    }
    return AppendProviders(api_, options.providers, target_);
  }

 private:
  Status Take(OrtStatus* error) const {
    return api_.Take(error, Code::kInvalidArgument, "session options");
  }
  Status AddEntry(const char* key, const char* value) const {
    return Take(api_.AddSessionConfigEntry(target_, key, value));
  }

  const OrtApi& api_;
  OrtSessionOptions* target_;
};

Result<Owned<OrtSession>> CreateSession(const OrtLibrary& library,
                                        const OnnxRuntimeOptions& options) {
  const OrtApi& api = library.api;
  OrtSessionOptions* session_options = nullptr;
  FS_RETURN_IF_ERROR(
      api.Take(api.CreateSessionOptions(&session_options), Code::kInternal, "session options"));
  const Owned<OrtSessionOptions> owned_options(session_options, api.ReleaseSessionOptions);
  FS_RETURN_IF_ERROR(Configurator(api, session_options).Apply(options));
  OrtSession* session = nullptr;
  FS_RETURN_IF_ERROR(api.Take(
      api.CreateSession(library.env, options.model_path.c_str(), session_options, &session),
      Code::kInvalidArgument, StrCat("cannot load '", options.model_path, "'")));
  return Owned<OrtSession>(session, api.ReleaseSession);
}

Result<Owned<OrtRunOptions>> CreateRunOptions(const OrtApi& api) {
  OrtRunOptions* run_options = nullptr;
  FS_RETURN_IF_ERROR(api.Take(api.CreateRunOptions(&run_options), Code::kInternal, "run options"));
  Owned<OrtRunOptions> owned(run_options, api.ReleaseRunOptions);
  FS_RETURN_IF_ERROR(api.Take(api.RunOptionsSetRunLogSeverityLevel(run_options, kOrtFatal),
                              Code::kInternal, "run options"));
  return owned;
}

}  // namespace

Result<std::shared_ptr<const Session>> Session::Create(const OnnxRuntimeOptions& options) {
  FS_RETURN_IF_ERROR(CheckOptions(options));
  Result<const OrtLibrary*> library = OpenOrtLibrary(options.library_path);
  if (!library.ok()) return library.status();
  Result<Owned<OrtSession>> handle = CreateSession(**library, options);
  if (!handle.ok()) return handle.status();
  Result<Signature> signature = ReadSignature(**library, handle->get());
  if (!signature.ok()) return signature.status();
  Result<Owned<OrtRunOptions>> run_options = CreateRunOptions((*library)->api);
  if (!run_options.ok()) return run_options.status();
  auto session = std::make_shared<Session>(**library, *std::move(handle), *std::move(run_options));
  session->signature = *std::move(signature);
  session->is_on_the_cpu = std::ranges::all_of(
      options.providers, [](const OnnxRuntimeProvider& one) { return one.name == kCpuProvider; });
  for (const TensorSpec& output : session->signature.outputs) {
    session->output_names.push_back(output.name.c_str());
  }
  return std::shared_ptr<const Session>(std::move(session));
}

Status Session::Describe(size_t index, const OrtValue* value, Tensor& tensor) const {
  const OrtApi& api = library.api;
  const auto take = [&](OrtStatus* error) {
    return api.Take(error, Code::kInternal, "ONNX Runtime");
  };
  OrtTensorInfo* info = nullptr;
  FS_RETURN_IF_ERROR(take(api.GetTensorTypeAndShape(value, &info)));
  const Owned<OrtTensorInfo> owned(info, api.ReleaseTensorTypeAndShapeInfo);
  const TensorSpec& spec = signature.outputs[index];
  int type = 0;
  size_t rank = 0;
  FS_RETURN_IF_ERROR(take(api.GetTensorElementType(info, &type)));
  FS_RETURN_IF_ERROR(take(api.GetDimensionsCount(info, &rank)));
  if (type != OrtTypeOf(spec.type) || rank > Shape::kMaxRank) {
    return Internal("output '", spec.name, "' came with elements of ", OrtTypeName(type), " and ",
                    rank, " dimensions, expected ", DataTypeName(spec.type), " and at most ",
                    Shape::kMaxRank);
  }
  std::array<int64_t, Shape::kMaxRank> dims;
  FS_RETURN_IF_ERROR(take(api.GetDimensions(info, dims.data(), rank)));
  tensor.type = spec.type;
  tensor.shape = Shape(std::span(dims.data(), rank));
  return {};
}

}  // namespace fastserve::ort
