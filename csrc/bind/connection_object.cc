// _core.Connection: a gateway's Connection as asyncio's BufferedProtocol, and the transport as its
// ConnectionIo.
//
// A raw C type: the event loop calls it twice for every request. The transport's methods are looked
// up once, when the connection is made.
#include <pybind11/pybind11.h>
#include <sys/socket.h>

#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "bind/buffer_object.h"
#include "bind/errors.h"
#include "bind/event_loop_gateway.h"
#include "bind/register.h"
#include "gateway/http/connection.h"

namespace py = pybind11;

namespace fastserve::bind {
namespace {

// Owned pieces below this are copied as well: a Python object would cost more.
constexpr size_t kCopiedPartBytesMax = 4 << 10;

class TransportIo final : public ConnectionIo {
 public:
  explicit TransportIo(py::object transport)
      : transport_(std::move(transport)), write_(transport_.attr("write")) {}

  void Write(std::span<const OutputPart> parts) override;
  void PauseReading() override {
    held_ = transport_;
    CallIfOpen("pause_reading");
  }
  void ResumeReading() override {
    CallIfOpen("resume_reading");
    held_ = {};
  }
  void FinishWriting() override;
  void Close() override { Call("close"); }
  void Abort() override { Call("abort"); }
  Peer FindPeer() override;

  bool has_failed() const { return has_failed_; }

  int Traverse(visitproc visit, void* arg) const {
    Py_VISIT(transport_.ptr());
    Py_VISIT(write_.ptr());
    return 0;
  }

 private:
  // Of the program at the other end of a Unix socket; -1 when it is unknown.
  int64_t FindUid();
  // A transport may be closed before it says so, and uvloop's then raises what is no failure.
  bool IsClosing() const;
  bool Is(const char* method) const;
  void CallIfOpen(const char* method);
  void Call(const char* method);
  // The transport failed in a way that it does not report itself: the connection ends.
  void Failed();
  bool WriteCopied(std::span<const OutputPart> parts, size_t bytes);
  bool WritePieces(std::span<const OutputPart> parts);

  const py::object transport_;
  const py::object write_;
  bool has_failed_ = false;
  // Loops refer to a transport only while it reads. Of one that pauses, its protocol and this the
  // collector would think that they refer to each other alone, and take them with their request
  // under way. So this reference is not one that Traverse shows.
  py::object held_;
};

PyObject* Joined(std::span<const OutputPart> parts, size_t bytes) {
  PyObject* const joined = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(bytes));
  if (joined == nullptr) return nullptr;
  char* to = PyBytes_AS_STRING(joined);
  for (const OutputPart& part : parts) {
    if (part.bytes.empty()) continue;
    std::memcpy(to, part.bytes.data(), part.bytes.size());
    to += part.bytes.size();
  }
  return joined;
}

size_t TotalBytes(std::span<const OutputPart> parts) {
  size_t bytes = 0;
  for (const OutputPart& part : parts) bytes += part.bytes.size();
  return bytes;
}

bool IsCopied(const OutputPart& part) {
  return !part.owner || part.bytes.size() < kCopiedPartBytesMax;
}

// Steals `item`.
bool Append(const py::list& list, PyObject* item) {
  const py::object owned = py::reinterpret_steal<py::object>(item);
  return item != nullptr && PyList_Append(list.ptr(), item) == 0;
}

void TransportIo::Write(std::span<const OutputPart> parts) {
  const size_t bytes = TotalBytes(parts);
  bool all_copied = bytes <= Gateway::kCopiedBytesMax;
  if (!all_copied) {
    all_copied = true;
    for (const OutputPart& part : parts) all_copied = all_copied && IsCopied(part);
  }
  const bool written =
      Guarded(false, [&] { return all_copied ? WriteCopied(parts, bytes) : WritePieces(parts); });
  if (!written) Failed();
}

bool TransportIo::WriteCopied(std::span<const OutputPart> parts, size_t bytes) {
  const py::object joined = py::reinterpret_steal<py::object>(Joined(parts, bytes));
  if (!joined) return false;
  return static_cast<bool>(
      py::reinterpret_steal<py::object>(PyObject_CallOneArg(write_.ptr(), joined.ptr())));
}

bool TransportIo::WritePieces(std::span<const OutputPart> parts) {
  const py::list pieces;
  while (!parts.empty()) {
    size_t run = 0;
    while (run < parts.size() && IsCopied(parts[run])) ++run;
    if (run > 0) {
      const auto copied = parts.first(run);
      if (!Append(pieces, Joined(copied, TotalBytes(copied)))) return false;
      parts = parts.subspan(run);
      continue;
    }
    const OutputPart& part = parts.front();
    auto* const data = reinterpret_cast<std::byte*>(const_cast<char*>(part.bytes.data()));
    if (!Append(pieces, NewBufferObject({data, part.bytes.size()}, part.owner, true))) return false;
    parts = parts.subspan(1);
  }
  static PyObject* const name = PyUnicode_InternFromString("writelines");
  return static_cast<bool>(py::reinterpret_steal<py::object>(
      PyObject_CallMethodOneArg(transport_.ptr(), name, pieces.ptr())));
}

void TransportIo::FinishWriting() {
  if (IsClosing()) return;
  Call(Is("can_write_eof") ? "write_eof" : "close");  // TLS has no half of a close.
}

bool TransportIo::IsClosing() const { return Is("is_closing"); }

bool TransportIo::Is(const char* method) const {
  PyObject* const result = PyObject_CallMethod(transport_.ptr(), method, nullptr);
  const int is_true = result == nullptr ? -1 : PyObject_IsTrue(result);
  Py_XDECREF(result);
  if (is_true < 0) PyErr_WriteUnraisable(transport_.ptr());
  return is_true > 0;
}

void TransportIo::CallIfOpen(const char* method) {
  if (!IsClosing()) Call(method);
}

void TransportIo::Call(const char* method) {
  PyObject* const result = PyObject_CallMethod(transport_.ptr(), method, nullptr);
  if (result == nullptr) return Failed();
  Py_DECREF(result);
}

void TransportIo::Failed() {
  has_failed_ = true;
  PyErr_WriteUnraisable(transport_.ptr());
  const py::object result =
      py::reinterpret_steal<py::object>(PyObject_CallMethod(transport_.ptr(), "abort", nullptr));
  if (!result) PyErr_Clear();
}

Peer TransportIo::FindPeer() {
  const py::object name = py::reinterpret_steal<py::object>(
      PyObject_CallMethod(transport_.ptr(), "get_extra_info", "s", "peername"));
  if (!name) PyErr_Clear();  // It is unknown by now.
  if (!name || name.is_none()) return {};
  if (!PyTuple_Check(name.ptr()) || PyTuple_GET_SIZE(name.ptr()) < 2) {
    return {.address = "unix", .uid = FindUid()};
  }
  PyObject* const address = PyTuple_GET_ITEM(name.ptr(), 0);
  const long port = PyLong_AsLong(PyTuple_GET_ITEM(name.ptr(), 1));
  const char* const text = PyUnicode_AsUTF8(address);
  if (text != nullptr && port >= 0) return {.address = text, .port = static_cast<int>(port)};
  PyErr_Clear();
  return {};
}

int64_t TransportIo::FindUid() {
  const py::object socket = py::reinterpret_steal<py::object>(
      PyObject_CallMethod(transport_.ptr(), "get_extra_info", "s", "socket"));
  const py::object number =
      socket && !socket.is_none()
          ? py::reinterpret_steal<py::object>(PyObject_CallMethod(socket.ptr(), "fileno", nullptr))
          : py::object();
  const long fd = number ? PyLong_AsLong(number.ptr()) : -1;
  PyErr_Clear();
  ucred peer{};
  socklen_t size = sizeof peer;
  if (fd < 0 || getsockopt(static_cast<int>(fd), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return -1;
  }
  return peer.uid;
}

struct ConnectionObject {
  PyObject_HEAD PyObject* gateway_object;  // Outlives the connection.
  EventLoopGateway* gateway;
  std::unique_ptr<TransportIo> io;
  std::unique_ptr<Connection> connection;  // Null before it is made and after it is lost.
};

ConnectionObject* Self(PyObject* self) { return reinterpret_cast<ConnectionObject*>(self); }

void Disconnect(ConnectionObject* self) {
  if (self->connection && self->io->has_failed()) self->connection->Lost(ConnectionEnd::kError);
  self->connection.reset();
  self->io.reset();
}

PyObject* New(PyTypeObject* type, PyObject*, PyObject*) {
  PyObject* const object = type->tp_alloc(type, 0);
  if (object == nullptr) return nullptr;
  ConnectionObject* const self = Self(object);
  new (&self->io) std::unique_ptr<TransportIo>();
  new (&self->connection) std::unique_ptr<Connection>();
  return object;
}

int Init(PyObject* object, PyObject* arguments, PyObject* keywords) {
  static const char* names[] = {"gateway", nullptr};
  PyObject* gateway = nullptr;
  if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O", const_cast<char**>(names), &gateway)) {
    return -1;
  }
  ConnectionObject* const self = Self(object);
  if (self->gateway != nullptr) {  // What is connected must not lose its gateway.
    PyErr_SetString(PyExc_RuntimeError, "a Connection is initialised once");
    return -1;
  }
  return Guarded(-1, [&] {
    try {
      self->gateway = &py::cast<EventLoopGateway&>(py::handle(gateway));
    } catch (const py::cast_error&) {
      PyErr_SetString(PyExc_TypeError, "Connection takes a Gateway");
      return -1;
    }
    self->gateway_object = Py_NewRef(gateway);
    return 0;
  });
}

int Traverse(PyObject* object, visitproc visit, void* arg) {
  ConnectionObject* const self = Self(object);
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(self->gateway_object);
  return self->io ? self->io->Traverse(visit, arg) : 0;
}

int Clear(PyObject* object) {
  ConnectionObject* const self = Self(object);
  Disconnect(self);
  Py_CLEAR(self->gateway_object);
  self->gateway = nullptr;
  return 0;
}

void Dealloc(PyObject* object) {
  PyObject_GC_UnTrack(object);
  PyTypeObject* const type = Py_TYPE(object);
  ConnectionObject* const self = Self(object);
  Clear(object);
  self->connection.~unique_ptr();
  self->io.~unique_ptr();
  type->tp_free(object);
  Py_DECREF(type);
}

PyObject* ConnectionMade(PyObject* object, PyObject* transport) {
  ConnectionObject* const self = Self(object);
  if (self->gateway == nullptr || self->connection != nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "a Connection is made once, for a Gateway");
    return nullptr;
  }
  return Guarded(static_cast<PyObject*>(nullptr), [&] {
    Gateway& gateway = self->gateway->core();
    self->io = std::make_unique<TransportIo>(py::reinterpret_borrow<py::object>(transport));
    Peer peer = gateway.wants_peers() ? self->io->FindPeer() : Peer();
    self->connection =
        std::make_unique<Connection>(gateway, *self->io, std::move(peer), NowNanos());
    return Py_NewRef(Py_None);
  });
}

PyObject* ConnectionLost(PyObject* object, PyObject*) {
  Disconnect(Self(object));
  Py_RETURN_NONE;
}

// False with an exception set when there is no connection (a loop that breaks the protocol).
bool IsConnected(ConnectionObject* self) {
  if (self->connection != nullptr) [[likely]]
    return true;
  PyErr_SetString(PyExc_RuntimeError, "the Connection is not connected");
  return false;
}

PyObject* GetBuffer(PyObject* object, PyObject*) {
  ConnectionObject* const self = Self(object);
  if (!IsConnected(self)) return nullptr;
  const bool is_shared = self->connection->reads_into_shared_buffer();
  const auto tail = self->connection->GetBuffer();
  if (is_shared) return Py_NewRef(self->gateway->shared_view());
  const py::object bytes = py::reinterpret_steal<py::object>(
      NewBufferObject(tail, self->connection->body_owner(), /*is_readonly=*/false));
  return bytes ? PyMemoryView_FromObject(bytes.ptr()) : nullptr;
}

PyObject* BufferUpdated(PyObject* object, PyObject* count) {
  ConnectionObject* const self = Self(object);
  const Py_ssize_t bytes = PyLong_AsSsize_t(count);
  if (bytes == -1 && PyErr_Occurred()) return nullptr;
  if (!IsConnected(self)) return nullptr;
  if (bytes < 0 || static_cast<size_t>(bytes) > self->connection->buffer_bytes()) {
    PyErr_SetString(PyExc_ValueError, "more bytes than the buffer holds");
    return nullptr;
  }
  return Guarded(static_cast<PyObject*>(nullptr), [&] {
    self->connection->BufferUpdated(static_cast<size_t>(bytes));
    return Py_NewRef(Py_None);
  });
}

// Also of a half-closed connection: who says no more is taken to have left.
PyObject* EofReceived(PyObject*, PyObject*) { Py_RETURN_FALSE; }

PyObject* PauseWriting(PyObject* object, PyObject*) {
  if (Self(object)->connection) Self(object)->connection->PauseWriting();
  Py_RETURN_NONE;
}

PyObject* ResumeWriting(PyObject* object, PyObject*) {
  return Guarded(static_cast<PyObject*>(nullptr), [&] {
    if (Self(object)->connection) Self(object)->connection->ResumeWriting();
    return Py_NewRef(Py_None);
  });
}

PyMethodDef methods[] = {
    {"connection_made", &ConnectionMade, METH_O, nullptr},
    {"connection_lost", &ConnectionLost, METH_O, nullptr},
    {"get_buffer", &GetBuffer, METH_O, nullptr},
    {"buffer_updated", &BufferUpdated, METH_O, nullptr},
    {"eof_received", &EofReceived, METH_NOARGS, nullptr},
    {"pause_writing", &PauseWriting, METH_NOARGS, nullptr},
    {"resume_writing", &ResumeWriting, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(&New)},
    {Py_tp_init, reinterpret_cast<void*>(&Init)},
    {Py_tp_dealloc, reinterpret_cast<void*>(&Dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(&Traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(&Clear)},
    {Py_tp_methods, methods},
    {Py_tp_doc, const_cast<char*>("The native half of a connection: mix into BufferedProtocol.")},
    {0, nullptr},
};
PyType_Spec spec = {
    .name = "fastserve._core.Connection",
    .basicsize = sizeof(ConnectionObject),
    .itemsize = 0,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

}  // namespace

void RegisterConnection(py::module_& module) {
  const auto type = py::reinterpret_steal<py::object>(PyType_FromSpec(&spec));
  if (!type) throw py::error_already_set();
  module.add_object("Connection", type);
}

}  // namespace fastserve::bind
