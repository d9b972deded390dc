// What a model is fed when nobody said what: values that most models take.
//
// Integers and BOOL are 0 or 1, because most are numbers of rows in a table, or a mask, and any
// table has two rows. Floats are in [0, 1), in steps that each float type represents exactly.
// Elements of BYTES are one to four small letters.
//
// Threads: any; equal seeds give equal values.
#pragma once

#include <random>
#include <string>

#include "tensor/data_type.h"

namespace fastserve {

// Adds one element to `bytes`; one of BYTES with its length in front.
void AppendRandom(DataType type, std::mt19937_64& random, std::string* bytes);

}  // namespace fastserve
