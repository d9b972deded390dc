// What the head of a request over HTTP says of the inference it asks for, or of the control request
// that it is. The same for HTTP/1.1 and HTTP/2.
//
// Threads: pure.
#pragma once

#include <memory>

#include "gateway/exchange.h"
#include "gateway/http/control_request.h"
#include "protocol/http1.h"

namespace fastserve {

// Fills in what the head of any request says: how its body is compressed and its answer may be.
// What is wrong with it, as below.
HttpError TakeCodings(const Http1Head& head, Exchange* exchange);

// Fills in what stands in the head. What is wrong with it, to be answered when the body is there;
// status 0 if nothing is.
HttpError TakeInferHead(const Http1Head& head, Exchange* exchange);

// The status of a body that could not be received: one too large for any request is 413.
int HttpStatusOfBody(Code code);

// A control request of this head, whose body `received` is to receive.
std::shared_ptr<ControlRequest> MakeControlRequest(const Http1Head& head, BodyReceiver&& received);

}  // namespace fastserve
