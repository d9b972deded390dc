// ProbeBatching: may rows of different requests share a batch of this model?
//
// Batching a model that was not made for it gives wrong answers in silence, so without a word from
// its config a model is tried: rows of seeded random values, alone and together, in several orders
// and sizes, must give the same answers. That finds what looks across rows (a softmax over the
// wrong axis, a mean over the batch, a state), for these values; a config can always say no.
//
// Threads: any, before the backend serves.
#pragma once

#include <cstdint>
#include <string>

#include "serving/backend.h"

namespace fastserve {

struct BatchingVerdict {
  bool rows_are_independent = false;
  std::string why;  // A few words for the log: "its rows are independent", "output 'y': ..."
};

// Every input and output must have a dynamic first dimension; other dynamic dimensions are tried
// with small lengths.
BatchingVerdict ProbeBatching(Backend& backend, uint64_t seed);

}  // namespace fastserve
