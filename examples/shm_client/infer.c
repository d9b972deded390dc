// Asks a model of a server on this machine, over shared memory: zeros in, whatever it says out.
//
//   infer ADDRESS MODEL
#include <fastserve/shm_client.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { RANK_MAX = 16, PRINTED_MAX = 8 };

static int fail(const char* what) {
  fprintf(stderr, "%s: %s\n", what, fastserve_shm_error());
  return 1;
}

// Each input of the model, with one where any length will do.
static int add_inputs(const fastserve_shm_description* model, fastserve_shm_request* request) {
  for (size_t i = 0; i < fastserve_shm_description_tensors(model); ++i) {
    fastserve_shm_tensor input = FASTSERVE_SHM_TENSOR_INIT;
    fastserve_shm_description_tensor(model, i, &input);
    if ((input.flags & (FASTSERVE_SHM_OUTPUT | FASTSERVE_SHM_OPTIONAL)) != 0) continue;
    if (input.datatype != FASTSERVE_SHM_FP32 || input.rank > RANK_MAX) {
      fprintf(stderr, "input '%s' is of %s; this example has zeros of FP32 only\n", input.name,
              fastserve_shm_datatype_name(input.datatype));
      return 1;
    }
    int64_t dims[RANK_MAX];
    for (size_t axis = 0; axis < input.rank; ++axis) {
      dims[axis] = input.dims[axis] < 0 ? 1 : input.dims[axis];
    }
    void* data;
    size_t bytes;
    if (fastserve_shm_request_input(request, input.name, input.datatype, dims, input.rank, &data,
                                    &bytes) != 0) {
      return fail(input.name);
    }
    memset(data, 0, bytes);
  }
  return 0;
}

static void print_output(const fastserve_shm_tensor* output) {
  printf("%s: %s[", output->name, fastserve_shm_datatype_name(output->datatype));
  for (size_t axis = 0; axis < output->rank; ++axis) {
    printf("%s%" PRId64, axis == 0 ? "" : ",", output->dims[axis]);
  }
  printf("]");
  for (size_t i = 0; i < PRINTED_MAX; ++i) {
    if (output->datatype == FASTSERVE_SHM_FP32 && (i + 1) * sizeof(float) <= output->bytes) {
      printf(" %g", (double)((const float*)output->data)[i]);
    }
    if (output->datatype == FASTSERVE_SHM_INT64 && (i + 1) * sizeof(int64_t) <= output->bytes) {
      printf(" %" PRId64, ((const int64_t*)output->data)[i]);
    }
  }
  printf("\n");
}

static int infer(fastserve_shm_client* client, const char* model) {
  const int64_t timeout_ns = 10000000000;
  fastserve_shm_description* description;
  if (fastserve_shm_describe(client, model, NULL, timeout_ns, &description) != 0) {
    return fail(model);
  }
  fastserve_shm_request* request;
  if (fastserve_shm_request_new(client, model, NULL, NULL, &request) != 0) return fail(model);
  int result = add_inputs(description, request);
  fastserve_shm_description_free(description);
  fastserve_shm_response* response = NULL;
  if (result == 0 && (fastserve_shm_request_send(request, timeout_ns) != 0 ||
                      fastserve_shm_request_wait(request, -1, &response) != 0)) {
    result = fail(model);
  }
  for (size_t i = 0; i < fastserve_shm_response_outputs(response); ++i) {
    fastserve_shm_tensor output = FASTSERVE_SHM_TENSOR_INIT;
    fastserve_shm_response_output(response, i, &output);
    print_output(&output);
  }
  fastserve_shm_response_free(response);
  fastserve_shm_request_free(request);
  return result;
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: %s ADDRESS MODEL, as in: %s @fastserve-8000 digits\n", argv[0],
            argv[0]);
    return 2;
  }
  fastserve_shm_client* client;
  if (fastserve_shm_connect(argv[1], NULL, &client) != 0) return fail(argv[1]);
  const int result = infer(client, argv[2]);
  fastserve_shm_close(client);
  return result;
}
