#include <algorithm>

#include "base/status.h"
#include "protocol/http1.h"

namespace fastserve {
namespace {

// All that 64 bits need; a longer number is an attempt to find who counts in 32 or 64 of them.
constexpr int kSizeDigitsMax = 16;

// What may stand in an extension or in a trailer's value: the line's end must be its end for
// everybody.
bool IsTextByte(char byte) {
  const uint8_t code = static_cast<uint8_t>(byte);
  return (code >= 0x20 && code != 0x7F) || byte == '\t';
}

std::string ShownByte(char byte) {
  return StrCat("received byte ", static_cast<int>(static_cast<uint8_t>(byte)));
}

}  // namespace

void ChunkedReader::Reset(uint64_t body_bytes_max, size_t trailer_bytes_max) {
  state_ = State::kSize;
  chunk_left_ = 0;
  body_bytes_max_ = body_bytes_max;
  body_bytes_left_ = body_bytes_max;
  trailer_bytes_max_ = trailer_bytes_max;
  extension_bytes_left_ = trailer_bytes_max;
  trailer_bytes_left_ = trailer_bytes_max;
  digits_ = 0;
}

ChunkedReader::Step ChunkedReader::Read(std::string_view received) {
  Step step;
  while (step.consumed < received.size() && state_ != State::kDone && state_ != State::kFailed) {
    if (state_ == State::kData) {
      const size_t left = received.size() - step.consumed;
      step.data = received.substr(step.consumed, std::min<uint64_t>(left, chunk_left_));
      step.consumed += step.data.size();
      chunk_left_ -= step.data.size();
      if (chunk_left_ == 0) state_ = State::kDataCr;
      break;
    }
    if (!TakeByte(received[step.consumed])) break;
    ++step.consumed;
  }
  step.progress = state_ == State::kDone     ? Http1Progress::kDone
                  : state_ == State::kFailed ? Http1Progress::kFailed
                                             : Http1Progress::kNeedMore;
  return step;
}

// One byte of what is not data. False: the error is set.
bool ChunkedReader::TakeByte(char byte) {
  switch (state_) {
    case State::kSize:
      return TakeSizeByte(byte);
    case State::kExtension:
      if (byte == '\r') {
        state_ = State::kSizeLf;
        return true;
      }
      return TakeSideByte(byte, "a chunk's extension");
    case State::kSizeLf:
      return Expect('\n', byte, chunk_left_ > 0 ? State::kData : State::kTrailerStart,
                    "behind a chunk's size");
    case State::kDataCr:
      return Expect('\r', byte, State::kDataLf, "behind a chunk's data");
    case State::kDataLf:
      digits_ = 0;
      return Expect('\n', byte, State::kSize, "behind a chunk's data");
    case State::kTrailerStart:
      if (byte == '\r') {
        state_ = State::kEndLf;
        return true;
      }
      [[fallthrough]];
    case State::kTrailerName:
    case State::kTrailerValue:
      return TakeTrailerByte(byte);
    case State::kTrailerLf:
      return Expect('\n', byte, State::kTrailerStart, "behind a trailer");
    case State::kEndLf:
      return Expect('\n', byte, State::kDone, "at the end");
    case State::kData:
    case State::kDone:
    case State::kFailed:
      break;
  }
  return false;  // Read does not ask in these states.
}

bool ChunkedReader::TakeSizeByte(char byte) {
  if (const int digit = HexDigit(byte); digit >= 0) {
    if (++digits_ > kSizeDigitsMax) {
      return Fail(400, StrCat("chunked body: expected at most ", kSizeDigitsMax,
                              " digits as a chunk's size"));
    }
    chunk_left_ = chunk_left_ * 16 + static_cast<uint64_t>(digit);
    return true;
  }
  if (digits_ == 0) {
    return Fail(400, StrCat("chunked body: expected hexadecimal digits as a chunk's size, ",
                            ShownByte(byte)));
  }
  if (byte != '\r' && byte != ';') {
    return Fail(400, StrCat("chunked body: expected CR LF or ';' behind a chunk's size, ",
                            ShownByte(byte)));
  }
  // Before the data, which would be received for nothing.
  if (chunk_left_ > body_bytes_left_) {
    return Fail(413, StrCat("chunked body: expected at most ", body_bytes_max_,
                            " bytes in all, received a chunk of ", chunk_left_, " behind ",
                            body_bytes_max_ - body_bytes_left_));
  }
  body_bytes_left_ -= chunk_left_;
  state_ = byte == ';' ? State::kExtension : State::kSizeLf;
  return true;
}

// A trailer is what a field of a head is: a token, a colon, and text on one line.
bool ChunkedReader::TakeTrailerByte(char byte) {
  if (state_ == State::kTrailerValue) {
    if (byte == '\r') {
      state_ = State::kTrailerLf;
      return true;
    }
    return TakeSideByte(byte, "a trailer");
  }
  const bool ends_name = byte == ':' && state_ == State::kTrailerName;
  if (!ends_name && !kHttpTokenBytes[static_cast<uint8_t>(byte)]) {
    return Fail(400,
                StrCat("chunked body: expected a trailer as 'name: value', ", ShownByte(byte)));
  }
  state_ = ends_name ? State::kTrailerValue : State::kTrailerName;
  return TakeSideByte(byte, "a trailer");
}

// Counts a byte that is dropped.
bool ChunkedReader::TakeSideByte(char byte, std::string_view where) {
  if (!IsTextByte(byte)) {
    return Fail(400, StrCat("chunked body: expected text in ", where, ", ", ShownByte(byte)));
  }
  size_t& left = state_ == State::kExtension ? extension_bytes_left_ : trailer_bytes_left_;
  if (left == 0) {
    return Fail(431, StrCat("chunked body: expected at most ", trailer_bytes_max_,
                            " bytes of trailers, and as many of chunk extensions"));
  }
  --left;
  return true;
}

bool ChunkedReader::Expect(char expected, char received, State next, std::string_view where) {
  if (received != expected) {
    return Fail(400, StrCat("chunked body: expected CR LF ", where, ", ", ShownByte(received)));
  }
  state_ = next;
  return true;
}

bool ChunkedReader::Fail(int status, std::string message) {
  state_ = State::kFailed;
  error_ = {status, std::move(message)};
  return false;
}

}  // namespace fastserve
