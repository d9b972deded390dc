#include "backends/onnxruntime/onnxruntime_backend.h"

#include "backends/onnxruntime/ort_instance.h"
#include "backends/onnxruntime/ort_session.h"

namespace fastserve {
namespace {

class OnnxRuntimeBackend : public Backend {
 public:
  explicit OnnxRuntimeBackend(std::shared_ptr<const ort::Session> session)
      : session_(std::move(session)) {}

  const Signature& signature() const override { return session_->signature; }
  bool takes_places() const override { return true; }
  Result<std::unique_ptr<ModelInstance>> NewInstance() override {
    return std::unique_ptr<ModelInstance>(std::make_unique<ort::OrtInstance>(session_));
  }

 private:
  const std::shared_ptr<const ort::Session> session_;
};

}  // namespace

Result<std::unique_ptr<Backend>> OpenOnnxRuntime(const OnnxRuntimeOptions& options) {
  Result<std::shared_ptr<const ort::Session>> session = ort::Session::Create(options);
  if (!session.ok()) return session.status();
  return std::unique_ptr<Backend>(std::make_unique<OnnxRuntimeBackend>(*std::move(session)));
}

}  // namespace fastserve
