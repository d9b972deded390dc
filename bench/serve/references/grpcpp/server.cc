// What a request over gRPC costs with gRPC's own C++ library: its asynchronous server on one
// completion queue and one thread, which reads the request, moves its bytes into the answer and
// sends it. No model, no queue, no statistics.
//
//   grpcpp_reference PORT
#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <memory>
#include <string>

#include "inference.grpc.pb.h"

namespace {

using Service = inference::GRPCInferenceService::AsyncService;

// More than are under way at once at 8 connections with 8 streams.
constexpr int kCalls = 256;

class Call {
 public:
  Call(Service& service, grpc::ServerCompletionQueue& queue) : service_(service), queue_(queue) {
    Begin();
  }

  void Proceed(bool ok) {
    if (is_answered_ || !ok) return Begin();
    is_answered_ = true;
    response_.set_model_name(request_.model_name());
    response_.set_model_version("1");
    for (int i = 0; i < request_.inputs_size(); ++i) {
      auto* const output = response_.add_outputs();
      output->set_name("OUTPUT0");
      output->set_datatype(request_.inputs(i).datatype());
      *output->mutable_shape() = request_.inputs(i).shape();
      response_.add_raw_output_contents()->swap(*request_.mutable_raw_input_contents(i));
    }
    writer_->Finish(response_, grpc::Status::OK, this);
  }

 private:
  void Begin() {
    is_answered_ = false;
    request_.Clear();
    response_.Clear();
    context_ = std::make_unique<grpc::ServerContext>();
    writer_ = std::make_unique<grpc::ServerAsyncResponseWriter<inference::ModelInferResponse>>(
        context_.get());
    service_.RequestModelInfer(context_.get(), &request_, writer_.get(), &queue_, &queue_, this);
  }

  Service& service_;
  grpc::ServerCompletionQueue& queue_;
  std::unique_ptr<grpc::ServerContext> context_;
  std::unique_ptr<grpc::ServerAsyncResponseWriter<inference::ModelInferResponse>> writer_;
  inference::ModelInferRequest request_;
  inference::ModelInferResponse response_;
  bool is_answered_ = false;
};

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: grpcpp_reference PORT\n");
    return 2;
  }
  Service service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(std::string("127.0.0.1:") + arguments[1],
                           grpc::InsecureServerCredentials());
  builder.SetMaxReceiveMessageSize(-1);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::ServerCompletionQueue> queue = builder.AddCompletionQueue();
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < kCalls; ++i) calls.push_back(std::make_unique<Call>(service, *queue));
  void* tag = nullptr;
  for (bool ok = false; queue->Next(&tag, &ok);) static_cast<Call*>(tag)->Proceed(ok);
  return 0;
}
