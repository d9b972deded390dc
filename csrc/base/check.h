// FS_CHECK: programmer errors stop the process, with the values that explain them.
//
// Not for input: a request error is a Status. A failed check means that this program is wrong and
// that going on could answer somebody with wrong bytes.
#pragma once

#include <cstdio>
#include <cstdlib>

#define FS_CHECK(condition)                                                                 \
  do {                                                                                      \
    if (!(condition)) [[unlikely]] {                                                        \
      std::fprintf(stderr, "%s:%d: FS_CHECK failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                         \
    }                                                                                       \
  } while (false)

// Both sides as integers, printed when they break the relation: FS_CHECK_OP(used, <=, limit).
#define FS_CHECK_OP(left, op, right)                                                       \
  do {                                                                                     \
    const auto fs_left = (left);                                                           \
    const auto fs_right = (right);                                                         \
    if (!(fs_left op fs_right)) [[unlikely]] {                                             \
      std::fprintf(stderr, "%s:%d: FS_CHECK failed: %s %s %s (%lld and %lld)\n", __FILE__, \
                   __LINE__, #left, #op, #right, static_cast<long long>(fs_left),          \
                   static_cast<long long>(fs_right));                                      \
      std::abort();                                                                        \
    }                                                                                      \
  } while (false)
