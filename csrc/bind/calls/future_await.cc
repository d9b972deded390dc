#include "bind/calls/future_await.h"

#include <pybind11/pybind11.h>

#include "bind/errors.h"

namespace py = pybind11;

namespace fastserve::bind {
namespace {

// (waiter, future): on the loop, the answer of one goes to the other.
PyObject* Copy(PyObject* pair, PyObject*) {
  return Guarded(static_cast<PyObject*>(nullptr), [pair] {
    const auto waiter = py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(pair, 0));
    const auto future = py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(pair, 1));
    if (waiter.attr("done")().cast<bool>()) return Py_NewRef(Py_None);
    if (future.attr("cancelled")().cast<bool>()) {
      waiter.attr("cancel")();
      return Py_NewRef(Py_None);
    }
    const py::object exception = future.attr("exception")();
    if (exception.is_none()) {
      waiter.attr("set_result")(future.attr("result")());
    } else {
      waiter.attr("set_exception")(exception);
    }
    return Py_NewRef(Py_None);
  });
}
PyMethodDef copy_def = {"copy", &Copy, METH_NOARGS, nullptr};

// (loop, waiter): on the thread of the callbacks.
PyObject* TellLoop(PyObject* pair, PyObject* future) {
  return Guarded(static_cast<PyObject*>(nullptr), [pair, future] {
    const auto loop = py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(pair, 0));
    const py::tuple both =
        py::make_tuple(py::handle(PyTuple_GET_ITEM(pair, 1)), py::handle(future));
    const auto copy = py::reinterpret_steal<py::object>(PyCFunction_New(&copy_def, both.ptr()));
    if (!copy) throw py::error_already_set();
    try {
      loop.attr("call_soon_threadsafe")(copy);
    } catch (py::error_already_set& error) {
      if (!error.matches(PyExc_RuntimeError)) throw;  // Else the loop is closed: nobody waits.
    }
    return Py_NewRef(Py_None);
  });
}
PyMethodDef tell_loop_def = {"tell_loop", &TellLoop, METH_O, nullptr};

PyObject* CancelToo(PyObject* future, PyObject* waiter) {
  return Guarded(static_cast<PyObject*>(nullptr), [future, waiter] {
    if (py::handle(waiter).attr("cancelled")().cast<bool>()) py::handle(future).attr("cancel")();
    return Py_NewRef(Py_None);
  });
}
PyMethodDef cancel_too_def = {"cancel_too", &CancelToo, METH_O, nullptr};

py::object Function(PyMethodDef* def, const py::handle& self) {
  auto made = py::reinterpret_steal<py::object>(PyCFunction_New(def, self.ptr()));
  if (!made) throw py::error_already_set();
  return made;
}

}  // namespace

PyObject* AwaitFuture(PyObject* object) {
  return Guarded(static_cast<PyObject*>(nullptr), [object] {
    const py::handle future(object);
    const py::object loop = py::module_::import("asyncio").attr("get_running_loop")();
    const py::object waiter = loop.attr("create_future")();
    if (future.attr("done")().cast<bool>()) {
      const py::object copied = Function(&copy_def, py::make_tuple(waiter, future))();
    } else {
      waiter.attr("add_done_callback")(Function(&cancel_too_def, future));
      const py::tuple pair = py::make_tuple(loop, waiter);
      future.attr("add_done_callback")(Function(&tell_loop_def, pair));
    }
    return waiter.attr("__await__")().release().ptr();
  });
}

}  // namespace fastserve::bind
