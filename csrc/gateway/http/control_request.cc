#include "gateway/http/control_request.h"

#include <utility>

#include "base/check.h"

namespace fastserve {

ControlRequest::~ControlRequest() {
  if (answered || owner == nullptr) return;
  // A connection that still points here must not be left behind, nor touched from elsewhere.
  FS_CHECK(is_on_its_thread());
  static_cast<void>(Respond(500, "", {}));
}

Status ControlRequest::Respond(int status, std::string_view content,
                               std::span<const HttpHeader> fields) {
  if (!is_on_its_thread()) {
    return FailedPrecondition("a request is answered on the thread of its event loop");
  }
  if (answered) return FailedPrecondition("the request is answered already");
  if (status < 200 || status > 599) {
    return InvalidArgument("status is ", status, ", expected 200 to 599");
  }
  for (const HttpHeader& field : fields) {
    if (!HeaderIsSafe(field)) return InvalidArgument("header '", field.name, "' cannot be sent");
  }
  answered = true;
  ControlOwner* const to = std::exchange(owner, nullptr);
  if (to != nullptr) to->AnswerControl(*this, status, content, fields);
  return {};
}

}  // namespace fastserve
