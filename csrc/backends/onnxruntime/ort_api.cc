#include "backends/onnxruntime/ort_api.h"

#include <dlfcn.h>

#include <map>
#include <utility>

#include "base/annotations.h"

namespace fastserve::ort {
namespace {

constexpr std::string_view kInstall =
    "install a newer one with `pip install 'onnxruntime>=1.17'` (or onnxruntime-gpu)";

// The engine's error codes that tell more than that it failed.
constexpr int kOrtInvalidArgument = 2;
constexpr int kOrtNoSuchFile = 3;
constexpr int kOrtNotImplemented = 9;
constexpr int kOrtProviderFailed = 11;

constexpr int kOrtSeverityWarning = 2;
constexpr int kOrtDeviceAllocator = 0;
constexpr int kOrtMemoryDefault = 0;

Code CodeOf(int ort_code, Code otherwise) {
  switch (ort_code) {
    case kOrtInvalidArgument:
      return Code::kInvalidArgument;
    case kOrtNoSuchFile:
      return Code::kNotFound;
    case kOrtNotImplemented:
      return Code::kUnimplemented;
    case kOrtProviderFailed:
      return Code::kFailedPrecondition;
    default:
      return otherwise;
  }
}

std::string_view Shown(const std::string& path) {
  return path.empty() ? std::string_view("libonnxruntime.so.1") : std::string_view(path);
}

Result<const OrtApiBase*> OpenApiBase(const std::string& path) {
  const std::string file(Shown(path));
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return FailedPrecondition("cannot open ONNX Runtime's library: ", dlerror(),
                              "; install it with `pip install 'onnxruntime>=1.17'`");
  }
  auto* get_base = reinterpret_cast<const OrtApiBase* (*)()>(dlsym(library, "OrtGetApiBase"));
  if (get_base == nullptr) {
    return FailedPrecondition("'", file, "' is not ONNX Runtime's library: it has no symbol ",
                              "OrtGetApiBase");
  }
  return get_base();
}

Result<std::unique_ptr<OrtLibrary>> MakeLibrary(const std::string& path) {
  Result<const OrtApiBase*> base = OpenApiBase(path);
  if (!base.ok()) return base.status();
  Result<OrtApi> api = BindOrtApi(**base);
  if (!api.ok()) {
    return Status(api.status().code(), StrCat("'", Shown(path), "': ", api.status().message()));
  }
  auto library = std::make_unique<OrtLibrary>();
  library->api = *api;
  library->version = (*base)->GetVersionString();
  FS_RETURN_IF_ERROR(api->Take(api->CreateEnv(kOrtSeverityWarning, "fastserve", &library->env),
                               Code::kInternal, "ONNX Runtime's environment"));
  FS_RETURN_IF_ERROR(api->Take(api->GetAllocatorWithDefaultOptions(&library->allocator),
                               Code::kInternal, "ONNX Runtime's allocator"));
  OrtMemoryInfo* cpu_memory = nullptr;
  FS_RETURN_IF_ERROR(
      api->Take(api->CreateCpuMemoryInfo(kOrtDeviceAllocator, kOrtMemoryDefault, &cpu_memory),
                Code::kInternal, "ONNX Runtime's memory description"));
  library->cpu_memory = cpu_memory;
  return library;
}

// The libraries opened so far, by the path asked for.
struct Libraries {
  Mutex mutex;
  std::map<std::string, std::unique_ptr<OrtLibrary>> by_path FS_GUARDED_BY(mutex);
};

}  // namespace

Status OrtApi::Take(OrtStatus* error, Code otherwise, std::string_view doing) const {
  if (error == nullptr) [[likely]] {
    return {};
  }
  Status status(CodeOf(GetErrorCode(error), otherwise),
                StrCat(doing, ": ", GetErrorMessage(error)));
  ReleaseStatus(error);
  return status;
}

Result<OrtApi> BindOrtApi(const OrtApiBase& base) {
  const void* const* table = base.GetApi(kOrtApiVersion);
  if (table == nullptr) {
    return FailedPrecondition("found ONNX Runtime ", base.GetVersionString(), ", but API version ",
                              kOrtApiVersion, " is needed, which it has since 1.17; ", kInstall);
  }
  OrtApi api;
#define FS_ORT_BIND(index, returned, name, ...) \
  api.name = reinterpret_cast<returned (*)(__VA_ARGS__)>(const_cast<void*>(table[index]));
  FS_ORT_SLOTS(FS_ORT_BIND)
#undef FS_ORT_BIND
  return api;
}

Result<const OrtLibrary*> OpenOrtLibrary(const std::string& path) {
  static Libraries& libraries = *new Libraries;  // Never destroyed; see the header.
  MutexLock lock(libraries.mutex);
  const auto found = libraries.by_path.find(path);
  if (found != libraries.by_path.end()) return found->second.get();
  Result<std::unique_ptr<OrtLibrary>> library = MakeLibrary(path);
  if (!library.ok()) return library.status();
  return libraries.by_path.emplace(path, *std::move(library)).first->second.get();
}

}  // namespace fastserve::ort
