#include "base/status.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace fastserve {
namespace {

// gRPC's list, in the order of its numbers.
TEST(Code, HasTheNumbersAndNamesOfGrpc) {
  constexpr std::string_view kNames[] = {
      "OK",
      "CANCELLED",
      "UNKNOWN",
      "INVALID_ARGUMENT",
      "DEADLINE_EXCEEDED",
      "NOT_FOUND",
      "ALREADY_EXISTS",
      "PERMISSION_DENIED",
      "RESOURCE_EXHAUSTED",
      "FAILED_PRECONDITION",
      "ABORTED",
      "OUT_OF_RANGE",
      "UNIMPLEMENTED",
      "INTERNAL",
      "UNAVAILABLE",
      "DATA_LOSS",
      "UNAUTHENTICATED",
  };
  static_assert(std::size(kNames) == static_cast<size_t>(Code::kUnauthenticated) + 1);
  for (size_t i = 0; i < std::size(kNames); ++i) {
    EXPECT_EQ(CodeName(static_cast<Code>(i)), kNames[i]);
  }
}

TEST(Status, IsOkUntilItCarriesAnError) {
  const Status ok;
  EXPECT_TRUE(ok.ok());
  EXPECT_EQ(ok.code(), Code::kOk);
  EXPECT_EQ(ok.message(), "");
  const Status error(Code::kAborted, "stopped");
  EXPECT_FALSE(error.ok());
  EXPECT_EQ(error.code(), Code::kAborted);
  EXPECT_EQ(error.message(), "stopped");
}

TEST(Status, CopiesAreIndependentAndMovesLeaveOk) {
  Status error = NotFound("no model '", "m", "'");
  Status copy = error;
  error = Status();
  EXPECT_TRUE(error.ok());
  EXPECT_EQ(copy.code(), Code::kNotFound);
  EXPECT_EQ(copy.message(), "no model 'm'");
  Status& alias = copy;
  copy = alias;
  EXPECT_EQ(copy.message(), "no model 'm'");
  const Status moved = std::move(copy);
  EXPECT_EQ(moved.message(), "no model 'm'");
  EXPECT_TRUE(copy.ok());  // NOLINT(bugprone-use-after-move): that it is ok is the promise.
}

TEST(Status, EachFactoryMakesItsCodeOfJoinedParts) {
  EXPECT_EQ(InvalidArgument("rows is ", -1, ", expected ", size_t{3}).message(),
            "rows is -1, expected 3");
  EXPECT_EQ(InvalidArgument("").code(), Code::kInvalidArgument);
  EXPECT_EQ(NotFound("").code(), Code::kNotFound);
  EXPECT_EQ(Internal("").code(), Code::kInternal);
  EXPECT_EQ(ResourceExhausted("").code(), Code::kResourceExhausted);
  EXPECT_EQ(Unavailable("").code(), Code::kUnavailable);
  EXPECT_EQ(FailedPrecondition("").code(), Code::kFailedPrecondition);
  EXPECT_EQ(Unimplemented("").code(), Code::kUnimplemented);
}

Status PassOn(Status status, bool& went_on) {
  FS_RETURN_IF_ERROR(std::move(status));
  went_on = true;
  return {};
}

TEST(Status, ReturnIfErrorReturnsErrorsAlone) {
  bool went_on = false;
  EXPECT_EQ(PassOn(Internal("broken"), went_on).message(), "broken");
  EXPECT_FALSE(went_on);
  EXPECT_TRUE(PassOn({}, went_on).ok());
  EXPECT_TRUE(went_on);
}

TEST(Result, HoldsAValueOrTheReasonWhyThereIsNone) {
  Result<std::string> value = std::string("text");
  ASSERT_TRUE(value.ok());
  EXPECT_TRUE(value.status().ok());
  EXPECT_EQ(*value, "text");
  EXPECT_EQ(value->size(), 4u);
  Result<int> error = Unavailable("later");
  EXPECT_FALSE(error.ok());
  EXPECT_EQ(error.status().code(), Code::kUnavailable);
  EXPECT_EQ(std::move(error).status().message(), "later");
}

TEST(Result, GivesAwayWhatCannotBeCopied) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(7);
  const std::unique_ptr<int> taken = *std::move(result);
  EXPECT_EQ(*taken, 7);
}

// An error that says OK would be answered as a success, without a value.
TEST(StatusDeathTest, AnErrorIsNeverOk) {
  EXPECT_DEATH((void)Status(Code::kOk, "fine"), "code != Code::kOk");
  EXPECT_DEATH((void)Result<int>(Status()), "status_.ok");
}

// It is of memory that is always there, and so are its copies.
TEST(Status, OutOfMemoryIsAnErrorLikeOthers) {
  const Status status = Status::OutOfMemory();
  const Status copy(status);
  Status moved;
  moved = Status(copy);
  for (const Status* each : {&status, &copy, static_cast<const Status*>(&moved)}) {
    EXPECT_EQ(each->code(), Code::kResourceExhausted);
    EXPECT_EQ(each->message(), "the server is out of memory");
  }
}

}  // namespace
}  // namespace fastserve
