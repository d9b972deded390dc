// Rows in and out of a batch: the launchers that batch assembly calls.
//
// Plain C, so that a kernel compiled by nvcc, or loaded with dlopen, has the same face as its twin
// for the host (rows_reference.cc), against which it is tested.
//
// Contract of every launcher here:
//   - Pointers are memory of the device that the launcher was built for. The table of sources or
//     targets itself is host memory and may be freed when the call returns.
//   - `stream` is the device's queue of work (cudaStream_t); the call may return before the copy
//     is done. The host's twin ignores it and returns when all is copied.
//   - Sources, targets and the batch do not overlap.
//   - The result is 0, or the device's error number. FS_ROWS_TOO_LARGE (the value of
//     cudaErrorInvalidValue) says that a size in bytes does not fit in size_t; nothing is written.
//   - A row is `row_bytes` bytes. Elements of varying length are copied as rows of one byte.
// Threads: any; what is written must be private to the caller.
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FS_ROWS_TOO_LARGE 1

typedef struct FsRowSource {
  const void* data;
  size_t rows;
} FsRowSource;

typedef struct FsRowTarget {
  void* data;
  size_t rows;
} FsRowTarget;

// Copies the rows of each source, in order, back to back into `out`, which has room for them all.
int fs_gather_rows(const FsRowSource* sources, size_t count, void* out, size_t row_bytes,
                   void* stream);

// The other way: hands the rows of `in` out to the targets, in order.
int fs_scatter_rows(const void* in, const FsRowTarget* targets, size_t count, size_t row_bytes,
                    void* stream);

#ifdef __cplusplus
}  // extern "C"
#endif
