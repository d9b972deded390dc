// _core.ShmCall: one request over a channel, as Python makes, sends and takes it.
//
// A raw C type, because sending and taking are what a request costs Python (pybind11: 103 ns a
// call, this: 14).
//
// Threads: any, with the GIL; it is given up while the call waits and while large inputs are
// copied, and who comes meanwhile is told FAILED_PRECONDITION, but for cancel.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "bind/shm/shm_signature.h"
#include "channel/client/channel_call.h"

namespace fastserve::bind {

// A new ShmCall. Throws.
pybind11::object NewShmCall(std::shared_ptr<ChannelCall> call,
                            std::shared_ptr<const ShmSignature> signature);

void RegisterShmCall(pybind11::module_& module);

}  // namespace fastserve::bind
