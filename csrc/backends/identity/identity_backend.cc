#include "backends/identity/identity_backend.h"

#include <utility>

#include "sync/signal.h"

namespace fastserve {
namespace {

class IdentityInstance : public ModelInstance {
 public:
  IdentityInstance(const Signature& signature, int64_t delay_us, int repeat)
      : signature_(signature), delay_us_(delay_us), repeat_(repeat) {}

  Status Run(std::span<const BatchInput> inputs, int64_t, OutputSink& outputs) override {
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].present) continue;
      return InvalidArgument("input '", signature_.inputs[i].name, "' is missing, and output '",
                             signature_.outputs[i].name, "' would be equal to it");
    }
    if (delay_us_ > 0) Delay();
    for (int response = 0; response < repeat_; ++response) {
      for (size_t i = 0; i < inputs.size(); ++i) {
        outputs.Add(i, inputs[i].tensor, inputs[i].owner);
      }
      outputs.EndResponse();
    }
    return {};
  }

 private:
  void Delay() {
    const Nanos end = NowNanos() + delay_us_ * kMicrosecond;
    Signal never;  // Nobody notifies it: waiting for it is waiting for the deadline.
    while (NowNanos() < end) never.Wait(never.Prepare(), end);
  }

  const Signature& signature_;
  const int64_t delay_us_;
  const int repeat_;
};

class IdentityBackend : public Backend {
 public:
  explicit IdentityBackend(IdentityOptions options)
      : signature_{"identity", std::move(options.inputs), std::move(options.outputs)},
        delay_us_(options.delay_us),
        repeat_(options.repeat) {}

  const Signature& signature() const override { return signature_; }
  Result<std::unique_ptr<ModelInstance>> NewInstance() override {
    return std::unique_ptr<ModelInstance>(
        std::make_unique<IdentityInstance>(signature_, delay_us_, repeat_));
  }

 private:
  const Signature signature_;
  const int64_t delay_us_;
  const int repeat_;
};

}  // namespace

Result<std::unique_ptr<Backend>> OpenIdentity(IdentityOptions options) {
  const auto& [inputs, outputs, delay_us, repeat] = options;
  if (inputs.size() != outputs.size()) {
    return InvalidArgument("identity: ", inputs.size(), " inputs and ", outputs.size(),
                           " outputs, expected as many of each");
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].type == outputs[i].type) continue;
    return InvalidArgument("identity: output '", outputs[i].name, "' is ",
                           DataTypeName(outputs[i].type), ", expected ",
                           DataTypeName(inputs[i].type), " as its input '", inputs[i].name, "'");
  }
  if (delay_us < 0 || repeat < 0) {
    return InvalidArgument("identity: delay_us is ", delay_us, " and repeat is ", repeat,
                           ", expected at least 0");
  }
  return std::unique_ptr<Backend>(std::make_unique<IdentityBackend>(std::move(options)));
}

}  // namespace fastserve
