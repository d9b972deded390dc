// JSON out: strings, and the elements of tensors as numbers.
//
// Everything is appended to a ByteWriter. Numbers are the shortest text that reads back as the same
// value; a floating-point number always shows it (`1.0`, not `1`), because readers such as Python's
// json type a number by its spelling.
#pragma once

#include <string_view>

#include "base/status.h"
#include "protocol/byte_writer.h"
#include "tensor/tensor.h"

namespace fastserve {

// Appends `text` in quotes and escaped. What is not valid UTF-8 becomes U+FFFD: names and messages
// may repeat a client's bytes, and the answer must be JSON all the same.
void AppendJsonString(std::string_view text, ByteWriter* out);

// Makes room for AppendJsonString(text) and something small behind it.
//
// Errors: UNAVAILABLE without memory for it. Texts of a few hundred bytes need not ask.
Status ReserveJsonString(std::string_view text, ByteWriter* out);

void AppendJsonInteger(uint64_t value, ByteWriter* out);

// Appends the elements of a validated tensor as one flat array.
//
// Errors: INVALID_ARGUMENT, naming tensor and element, for what JSON cannot say: FP16 and BF16, NaN
// and infinities, BYTES that are not UTF-8; the client can ask for binary output instead.
// UNAVAILABLE without memory for the text. A part of the array may then have been appended; room
// for something small behind it there is in any case.
Status AppendJsonElements(std::string_view name, const Tensor& tensor, ByteWriter* out);

}  // namespace fastserve
