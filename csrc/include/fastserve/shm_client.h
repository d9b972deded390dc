// A client of fastserve for programs on the server's own machine: tensors lie in memory that both
// share, and nothing is copied or parsed. Plain C99; the library is libfastserve_shm.so.
//
//   fastserve_shm_client* client;
//   fastserve_shm_request* request;
//   fastserve_shm_response* response;
//   int64_t dims[] = {1, 784};
//   void* data;
//   size_t bytes;
//   if (fastserve_shm_connect("@fastserve-8000", NULL, &client) != 0) ... fastserve_shm_error() ...
//   fastserve_shm_request_new(client, "digits", NULL, NULL, &request);
//   fastserve_shm_request_input(request, "image", FASTSERVE_SHM_FP32, dims, 2, &data, &bytes);
//   ... write `bytes` bytes at `data` ...
//   fastserve_shm_request_send(request, 1000000000);                 // any number of times
//   fastserve_shm_request_wait(request, -1, &response);
//   ... fastserve_shm_response_find(response, "label", &tensor) ...
//   fastserve_shm_response_free(response);
//   fastserve_shm_request_free(request);
//   fastserve_shm_close(client);
//
// Errors: functions that return an int return a fastserve_shm_code, 0 when all went well. What was
// wrong is then told by fastserve_shm_error(), to the thread that asked. Nothing stops the process,
// and NULL where an object is expected is INVALID_ARGUMENT. What is returned through a pointer is
// written only when all went well.
// Ownership: what a function named _new, _connect, _wait or _describe gives is the caller's, to be
// freed by the function named so; freeing NULL does nothing. Texts and tensors that it is asked for
// are its own, and go with it. The order of freeing is free: a response may outlive its request,
// and both the client. Time: nanoseconds. A timeout below 0 is none; 0 looks and does not wait.
// Threads: a client may be used by many at once; a request, a response or a description by one at a
// time, but for fastserve_shm_request_cancel, which may come from any. After fork() the child makes
// a client of its own.
// Versions: structs begin with their size as the caller knows it, which FASTSERVE_SHM_..._INIT
// sets; the library reads and writes no more of them. Members are only ever added at the end.
#pragma once

#include <stddef.h>
#include <stdint.h>

// NOLINTBEGIN(modernize-*,readability-identifier-naming): it is C.

#if defined(__GNUC__)
#define FASTSERVE_SHM_API __attribute__((visibility("default")))
#else
#define FASTSERVE_SHM_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

// gRPC's canonical codes.
enum fastserve_shm_code {
  FASTSERVE_SHM_OK = 0,
  FASTSERVE_SHM_CANCELLED = 1,
  FASTSERVE_SHM_UNKNOWN = 2,
  FASTSERVE_SHM_INVALID_ARGUMENT = 3,
  FASTSERVE_SHM_DEADLINE_EXCEEDED = 4,
  FASTSERVE_SHM_NOT_FOUND = 5,
  FASTSERVE_SHM_ALREADY_EXISTS = 6,
  FASTSERVE_SHM_PERMISSION_DENIED = 7,
  FASTSERVE_SHM_RESOURCE_EXHAUSTED = 8,
  FASTSERVE_SHM_FAILED_PRECONDITION = 9,
  FASTSERVE_SHM_ABORTED = 10,
  FASTSERVE_SHM_OUT_OF_RANGE = 11,
  FASTSERVE_SHM_UNIMPLEMENTED = 12,
  FASTSERVE_SHM_INTERNAL = 13,
  FASTSERVE_SHM_UNAVAILABLE = 14,  // Also: the server has gone; connect again.
  FASTSERVE_SHM_DATA_LOSS = 15,
  FASTSERVE_SHM_UNAUTHENTICATED = 16
};

// Of the Open Inference Protocol. Tensors are row-major, in the machine's byte order. BYTES: each
// element is its length in 4 bytes, and then itself, back to back.
enum fastserve_shm_datatype {
  FASTSERVE_SHM_BOOL = 0,
  FASTSERVE_SHM_UINT8 = 1,
  FASTSERVE_SHM_UINT16 = 2,
  FASTSERVE_SHM_UINT32 = 3,
  FASTSERVE_SHM_UINT64 = 4,
  FASTSERVE_SHM_INT8 = 5,
  FASTSERVE_SHM_INT16 = 6,
  FASTSERVE_SHM_INT32 = 7,
  FASTSERVE_SHM_INT64 = 8,
  FASTSERVE_SHM_FP16 = 9,
  FASTSERVE_SHM_FP32 = 10,
  FASTSERVE_SHM_FP64 = 11,
  FASTSERVE_SHM_BF16 = 12,
  FASTSERVE_SHM_BYTES = 13
};

typedef struct fastserve_shm_client fastserve_shm_client;
typedef struct fastserve_shm_request fastserve_shm_request;
typedef struct fastserve_shm_response fastserve_shm_response;
typedef struct fastserve_shm_description fastserve_shm_description;

// Of the calling thread's last call that failed: what was expected and what came. "" before that.
// Good until its next call.
FASTSERVE_SHM_API const char* fastserve_shm_error(void);
// "FP32"; NULL if there is no such type.
FASTSERVE_SHM_API const char* fastserve_shm_datatype_name(int datatype);

// -- The client ----------------------------------------------------------------------------------

typedef struct fastserve_shm_options {
  size_t size;
  uint64_t segment_bytes;      // Half for requests, half for responses. 0: 64 MiB.
  int64_t connect_timeout_ns;  // Below 0: 5 s.
  // How long a thread looks for its response before it sleeps, while that pays. Below 0: 50 us;
  // 0: it sleeps at once.
  int64_t spin_ns;
  int64_t
      server_user;  // Whose server it may be, other than one's own and root's. Below 0: nobody's.
} fastserve_shm_options;
#define FASTSERVE_SHM_OPTIONS_INIT {sizeof(fastserve_shm_options), 0, -1, -1, -1}

// `address` is "@name", or the path of a socket, as the server's --shm-socket. `options` may be
// NULL. Errors: UNAVAILABLE when nobody listens there; PERMISSION_DENIED; INVALID_ARGUMENT;
// RESOURCE_EXHAUSTED; FAILED_PRECONDITION for a server of another version.
FASTSERVE_SHM_API int fastserve_shm_connect(const char* address,
                                            const fastserve_shm_options* options,
                                            fastserve_shm_client** client);
// What is under way ends with UNAVAILABLE. What was received stays good.
FASTSERVE_SHM_API void fastserve_shm_close(fastserve_shm_client* client);
// 0 when the server has gone.
FASTSERVE_SHM_API int fastserve_shm_is_open(const fastserve_shm_client* client);

// -- Requests ------------------------------------------------------------------------------------

// `version` and `id` may be NULL: the default version, no id. Errors: INVALID_ARGUMENT for a text
// of more than 4096 bytes.
FASTSERVE_SHM_API int fastserve_shm_request_new(fastserve_shm_client* client, const char* model,
                                                const char* version, const char* id,
                                                fastserve_shm_request** request);
// An input: where to write it, 64-byte aligned, and how many bytes it has. One of that name that is
// there already is replaced. Errors: FAILED_PRECONDITION while the request is under way;
// RESOURCE_EXHAUSTED when the segment has no room; INVALID_ARGUMENT; UNAVAILABLE.
FASTSERVE_SHM_API int fastserve_shm_request_input(fastserve_shm_request* request, const char* name,
                                                  int datatype, const int64_t* dims, size_t rank,
                                                  void** data, size_t* bytes);
// The same for a tensor of BYTES, whose size its shape does not say.
FASTSERVE_SHM_API int fastserve_shm_request_input_bytes(fastserve_shm_request* request,
                                                        const char* name, const int64_t* dims,
                                                        size_t rank, size_t bytes, void** data);
// An output that is wanted; all are unless one is. Errors: as above.
FASTSERVE_SHM_API int fastserve_shm_request_want(fastserve_shm_request* request,
                                                 const char* output);
// Hands it over, to be answered within `timeout_ns`. The inputs are not to be written to until it
// is over; after that it may be changed and sent again. Errors: UNAVAILABLE; FAILED_PRECONDITION
// while it is under way; RESOURCE_EXHAUSTED when 1024 of the client's are.
FASTSERVE_SHM_API int fastserve_shm_request_send(fastserve_shm_request* request,
                                                 int64_t timeout_ns);
// The same, for a model that gives any number of responses.
FASTSERVE_SHM_API int fastserve_shm_request_stream(fastserve_shm_request* request,
                                                   int64_t timeout_ns);
// The next response; NULL when there are no more and it ended well. Errors: what it ended with;
// DEADLINE_EXCEEDED also when none came within `timeout_ns`, after which it goes on.
FASTSERVE_SHM_API int fastserve_shm_request_wait(fastserve_shm_request* request, int64_t timeout_ns,
                                                 fastserve_shm_response** response);
// It ends with CANCELLED unless it is over. Never waits.
FASTSERVE_SHM_API void fastserve_shm_request_cancel(fastserve_shm_request* request);
// Cancels it if it is under way.
FASTSERVE_SHM_API void fastserve_shm_request_free(fastserve_shm_request* request);

// -- Responses -----------------------------------------------------------------------------------

typedef struct fastserve_shm_tensor {
  size_t size;
  const char* name;
  int datatype;
  size_t rank;
  const int64_t* dims;  // In descriptions -1 for any length.
  void* data;           // In descriptions NULL.
  size_t bytes;
  unsigned flags;  // In descriptions.
} fastserve_shm_tensor;
#define FASTSERVE_SHM_TENSOR_INIT {sizeof(fastserve_shm_tensor), NULL, 0, 0, NULL, NULL, 0, 0}
enum fastserve_shm_flags { FASTSERVE_SHM_OUTPUT = 1, FASTSERVE_SHM_OPTIONAL = 2 };

FASTSERVE_SHM_API const char* fastserve_shm_response_model(const fastserve_shm_response* response);
FASTSERVE_SHM_API const char* fastserve_shm_response_version(
    const fastserve_shm_response* response);
FASTSERVE_SHM_API const char* fastserve_shm_response_id(const fastserve_shm_response* response);
FASTSERVE_SHM_API size_t fastserve_shm_response_outputs(const fastserve_shm_response* response);
// `tensor->size` is set. The data may be the very bytes of an input (of a model that changes
// nothing), which then change with it. Errors: OUT_OF_RANGE; NOT_FOUND.
FASTSERVE_SHM_API int fastserve_shm_response_output(const fastserve_shm_response* response,
                                                    size_t index, fastserve_shm_tensor* tensor);
FASTSERVE_SHM_API int fastserve_shm_response_find(const fastserve_shm_response* response,
                                                  const char* name, fastserve_shm_tensor* tensor);
// The server has its memory back: free what is not needed any more.
FASTSERVE_SHM_API void fastserve_shm_response_free(fastserve_shm_response* response);

// -- What a model takes and gives ----------------------------------------------------------------

// Errors: NOT_FOUND; DEADLINE_EXCEEDED; UNAVAILABLE.
FASTSERVE_SHM_API int fastserve_shm_describe(fastserve_shm_client* client, const char* model,
                                             const char* version, int64_t timeout_ns,
                                             fastserve_shm_description** description);
FASTSERVE_SHM_API const char* fastserve_shm_description_version(
    const fastserve_shm_description* description);
// 0: the first dimension is no batch.
FASTSERVE_SHM_API int64_t
fastserve_shm_description_max_batch_size(const fastserve_shm_description* description);
// The inputs, then the outputs (FASTSERVE_SHM_OUTPUT).
FASTSERVE_SHM_API size_t
fastserve_shm_description_tensors(const fastserve_shm_description* description);
FASTSERVE_SHM_API int fastserve_shm_description_tensor(const fastserve_shm_description* description,
                                                       size_t index, fastserve_shm_tensor* tensor);
FASTSERVE_SHM_API void fastserve_shm_description_free(fastserve_shm_description* description);

// -- Event loops ---------------------------------------------------------------------------------

// Readable when a watched request has news: call fastserve_shm_ready then. -1 without a client.
FASTSERVE_SHM_API int fastserve_shm_fd(const fastserve_shm_client* client);
// Watches a request that was sent, until it is over. `*is_ready` is 1 when
// fastserve_shm_request_wait would not wait now. Then, and when `tag` is among those that are
// ready, take what is there with a timeout of 0 until it says DEADLINE_EXCEEDED, or it is over.
FASTSERVE_SHM_API int fastserve_shm_request_watch(fastserve_shm_request* request, uint64_t tag,
                                                  int* is_ready);
// The tags of requests with news, each once for all that came since. `*count` of them are written;
// if that is all that there is room for (`capacity`), ask again.
FASTSERVE_SHM_API int fastserve_shm_ready(fastserve_shm_client* client, uint64_t* tags,
                                          size_t capacity, size_t* count);

#ifdef __cplusplus
}
#endif

// NOLINTEND(modernize-*,readability-identifier-naming)
