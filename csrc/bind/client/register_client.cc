// ClientRequest, HttpSession and GrpcSession: what fastserve.client stands on.
#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bind/buffer_object.h"
#include "bind/client/client_answer.h"
#include "bind/client/client_request.h"
#include "bind/errors.h"
#include "bind/register.h"
#include "client/grpc_session.h"
#include "client/http_session.h"

namespace py = pybind11;

namespace fastserve::bind {
namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

std::vector<HttpHeader> FieldsOf(const Headers& headers) {
  std::vector<HttpHeader> fields;
  fields.reserve(headers.size());
  for (const auto& [name, value] : headers) fields.push_back({name, value});
  return fields;
}

// Answers of all clients of the process; never destroyed, since arrays may outlive everything.
SlabPool& Memory() {
  constexpr size_t kKeptBytes = size_t{64} << 20;
  static SlabPool* const pool =
      SlabPool::Create({.bytes_max = SlabPool::kCapacityMax, .cached_bytes_max = kKeptBytes})
          .release();
  return *pool;
}

// A view of a session's buffer, which whoever receives into it drops before the session goes.
py::object BufferOf(std::span<std::byte> bytes) {
  PyObject* const made = NewBufferObject(bytes, {}, /*is_readonly=*/false);
  if (made == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(made);
}

py::bytes BytesOf(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

py::list BeginHttp(HttpSession& session, const std::string& method, const std::string& target,
                   const std::string& authority, const std::string& content_type,
                   std::string_view body, const Headers& headers) {
  const std::vector<HttpHeader> extra = FieldsOf(headers);
  Http1RequestHead head{.method = method, .target = target, .authority = authority};
  head.content_type = content_type;
  if (method != "GET" && method != "HEAD") head.content_length = body.size();
  head.extra = extra;
  Http2Output output;
  Check(session.Begin(head, body, &output));
  return TakeParts(&output);
}

py::list BeginHttpInfer(HttpSession& session, const ClientRequest& request,
                        const std::string& target, const std::string& authority, bool binary,
                        std::optional<uint64_t> timeout_ms, const Headers& headers) {
  const std::vector<HttpHeader> extra = FieldsOf(headers);
  Http1RequestHead head{.method = "POST", .target = target, .authority = authority};
  head.inference_timeout_ms = timeout_ms;
  head.extra = extra;
  Http2Output output;
  Check(session.BeginInfer(request.body, request.owners, head, binary, &output));
  return TakeParts(&output);
}

py::tuple TakeHttpInfer(HttpSession& session) {
  InferBody answer;
  Check(session.DecodeInfer(&answer));
  return AnswerOf(answer, [&](std::span<const std::byte> bytes) { return session.OwnerOf(bytes); });
}

py::object HeaderOf(const HttpSession& session, std::string_view name) {
  const std::string_view value = session.answer().Field(name);
  return py::reinterpret_steal<py::object>(
      PyUnicode_DecodeLatin1(value.data(), static_cast<Py_ssize_t>(value.size()), nullptr));
}

void RegisterHttpSession(py::module_& module) {
  py::class_<HttpSession>(module, "HttpSession", py::is_final())
      .def(py::init([](uint64_t body_bytes_max) {
             return Take(HttpSession::Create({.body_bytes_max = body_bytes_max}, Memory()));
           }),
           py::kw_only(), py::arg("body_bytes_max") = HttpSession::Options().body_bytes_max)
      .def("begin", &BeginHttp, py::arg("method"), py::arg("target"), py::arg("authority"),
           py::kw_only(), py::arg("content_type") = "", py::arg("body") = py::bytes(),
           py::arg("headers") = Headers())
      .def("begin_infer", &BeginHttpInfer, py::arg("request"), py::arg("target"),
           py::arg("authority"), py::kw_only(), py::arg("binary"), py::arg("timeout_ms"),
           py::arg("headers"))
      .def("buffer", [](HttpSession& session) { return BufferOf(session.GetBuffer()); })
      .def("received",
           [](HttpSession& session, size_t bytes) {
             Check(session.Received(bytes));
             return session.is_done();
           })
      .def("ended", [](HttpSession& session) { Check(session.Ended()); })
      .def("take_infer", &TakeHttpInfer)
      .def("header", &HeaderOf)
      .def_property_readonly("has_begun", &HttpSession::has_begun)
      .def_property_readonly("is_reusable", &HttpSession::is_reusable)
      .def_property_readonly("status",
                             [](const HttpSession& session) { return session.answer().status; })
      .def_property_readonly("body",
                             [](const HttpSession& session) { return BytesOf(session.body()); });
}

py::list TakeOutput(GrpcSession& session) {
  Check(session.Send());
  return TakeParts(&session.output());
}

// Starts a call of one message, which `write` writes: its number, and what to send.
template <typename WriteOne>
py::tuple Begin(GrpcSession& session, const std::string& path, const std::string& scheme,
                const std::string& authority, std::optional<int64_t> timeout_ns,
                const Headers& metadata, WriteOne&& write) {
  const std::vector<HttpHeader> fields = FieldsOf(metadata);
  const int32_t call = Take(session.Start({.path = path,
                                           .scheme = scheme,
                                           .authority = authority,
                                           .timeout_ns = timeout_ns,
                                           .metadata = fields}));
  const Status status = write(call);
  if (!status.ok()) session.Forget(call);
  Check(status);
  session.End(call);
  return py::make_tuple(call, TakeOutput(session));
}

py::tuple BeginMessage(GrpcSession& session, std::string_view message, const std::string& path,
                       const std::string& scheme, const std::string& authority,
                       std::optional<int64_t> timeout_ns, const Headers& metadata) {
  return Begin(session, path, scheme, authority, timeout_ns, metadata,
               [&](int32_t call) { return session.Write(call, message); });
}

py::tuple BeginInfer(GrpcSession& session, const ClientRequest& request, const std::string& path,
                     const std::string& scheme, const std::string& authority,
                     std::optional<int64_t> timeout_ns, const Headers& metadata) {
  return Begin(session, path, scheme, authority, timeout_ns, metadata, [&](int32_t call) {
    return session.WriteInfer(call, request.body, request.owners);
  });
}

py::object Utf8(std::string_view text) {
  return py::reinterpret_steal<py::object>(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

py::tuple DecodeCall(GrpcSession& session, std::span<const std::byte> response,
                     const BufferRef& owner) {
  InferBody answer;
  Check(session.DecodeInfer(response, owner, &answer));
  return AnswerOf(answer, [&](std::span<const std::byte> bytes) { return session.OwnerOf(bytes); });
}

// Of a call that takes one message back: None while it runs, else (code, message, whether the
// server said so, answer), where `read` makes the answer of a GrpcMessage.
template <typename Read>
py::object EndUnary(GrpcSession& session, int32_t call, Read&& read) {
  const Status* const end = session.EndOf(call);
  if (end == nullptr) return py::none();
  const Status status = *end;
  const bool is_answer = session.IsAnswered(call);
  const std::optional<GrpcMessage> message = session.TakeMessage(call);
  const bool is_one = message && !session.TakeMessage(call);
  session.Forget(call);
  const std::string code(CodeName(status.code()));
  if (!status.ok()) return py::make_tuple(code, Utf8(status.message()), is_answer, py::none());
  if (!is_one) {
    Check(Internal("the server ended the call with ", message ? "more than one answer" : "none"));
  }
  return py::make_tuple(code, "", is_answer, read(*message));
}

py::object EndMessage(GrpcSession& session, int32_t call) {
  return EndUnary(session, call, [](const GrpcMessage& message) { return BytesOf(message.bytes); });
}

py::object EndInfer(GrpcSession& session, int32_t call) {
  return EndUnary(session, call, [&](const GrpcMessage& message) {
    return DecodeCall(session, message.bytes, message.owner);
  });
}

// (error message, answer)
py::object TakeStreamInfer(GrpcSession& session, int32_t call) {
  const std::optional<GrpcMessage> message = session.TakeMessage(call);
  if (!message) return py::none();
  const std::string_view text(reinterpret_cast<const char*>(message->bytes.data()),
                              message->bytes.size());
  const GrpcStreamResponse parsed = Take(ParseGrpcStreamResponse(text));
  const auto response = std::as_bytes(std::span(parsed.response));
  return py::make_tuple(Utf8(parsed.error), DecodeCall(session, response, message->owner));
}

// None while it runs, else (code, message, whether the server said so); "OK" is a code here.
py::object EndOfCall(const GrpcSession& session, int32_t call) {
  const Status* const end = session.EndOf(call);
  if (end == nullptr) return py::none();
  return py::make_tuple(std::string(CodeName(end->code())), Utf8(end->message()),
                        session.IsAnswered(call));
}

void RegisterGrpcSession(py::module_& module) {
  py::class_<GrpcSession>(module, "GrpcSession", py::is_final())
      .def(py::init([](size_t message_bytes_max) {
             return Take(GrpcSession::Create({.message_bytes_max = message_bytes_max}, Memory()));
           }),
           py::kw_only(), py::arg("message_bytes_max") = GrpcSession::Options().message_bytes_max)
      .def("begin", &BeginMessage, py::arg("message"), py::arg("path"), py::arg("scheme"),
           py::arg("authority"), py::arg("timeout_ns"), py::arg("metadata"))
      .def("begin_infer", &BeginInfer, py::arg("request"), py::arg("path"), py::arg("scheme"),
           py::arg("authority"), py::arg("timeout_ns"), py::arg("metadata"))
      .def("forget", &GrpcSession::Forget)
      .def("output", &TakeOutput)
      .def("buffer", [](GrpcSession& session) { return BufferOf(session.GetBuffer()); })
      .def("received",
           [](GrpcSession& session, size_t bytes) {
             Check(session.Received(bytes));
             return session.wants_to_send();
           })
      .def("fail",
           [](GrpcSession& session, const std::string& why) { session.Fail(Unavailable(why)); })
      .def("take_changed", &GrpcSession::TakeChanged)
      .def("end_message", &EndMessage)
      .def("end_infer", &EndInfer)
      .def("take_stream_infer", &TakeStreamInfer)
      .def("end_of", &EndOfCall)
      .def_property_readonly("takes_calls", &GrpcSession::takes_calls)
      .def_property_readonly("calls", &GrpcSession::calls);
}

}  // namespace

void RegisterClient(py::module_& module) {
  py::class_<ClientRequest>(module, "ClientRequest", py::is_final())
      .def(py::init<std::string_view, std::string_view, std::string_view>(), py::arg("model"),
           py::arg("version") = "", py::arg("id") = "")
      .def("add_input", &ClientRequest::AddInput)
      .def("add_output", &ClientRequest::AddOutput, py::arg("name"), py::arg("classification") = 0)
      .def("add_parameter", &ClientRequest::AddParameter)
      .def("set_sequence", &ClientRequest::SetSequence, py::arg("id"), py::arg("start"),
           py::arg("end"))
      .def_property(
          "priority", [](const ClientRequest& request) { return request.body.priority; },
          [](ClientRequest& request, uint64_t priority) { request.body.priority = priority; });
  RegisterHttpSession(module);
  RegisterGrpcSession(module);
}

}  // namespace fastserve::bind
