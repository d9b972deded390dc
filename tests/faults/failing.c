/* A library to preload: counts calls of the C library, and fails those that a test chooses.

   The test and the program that it breaks share the file that FAILING_CALLS names; its layout is
   `struct plan` here and failing.py there. Only calls of at least `bytes_min` bytes count, for the
   functions that take a size. Written in C with system calls and glibc's own names behind it, so that
   it allocates nothing and works from the first instruction of a program on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum call { EVENTFD, PTHREAD_CREATE, ACCEPT, EPOLL_CTL, ALIGNED, MALLOC, CALLS };

struct plan {
  _Atomic int64_t seen;        /* Calls so far. */
  _Atomic int64_t failed;      /* Of them failed on purpose. */
  _Atomic int64_t fail_from;   /* The first call to fail, counted from 1; 0 for none. */
  _Atomic int64_t fail_until;  /* The first one after it to succeed. */
  _Atomic int64_t error;       /* errno of a failed call. */
  _Atomic int64_t bytes_min;
  _Atomic int64_t spares_python; /* Calls of the interpreter itself do not count. */
};

static struct plan idle[CALLS];
static struct plan* plans = idle;

__attribute__((constructor)) static void begin(void) {
  const char* path = getenv("FAILING_CALLS");
  const int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void* shared = (void*)syscall(SYS_mmap, NULL, sizeof idle, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (shared != MAP_FAILED) plans = shared;
}

/* Whether the interpreter made the call that returns to `caller`. */
static int is_pythons(void* caller) {
  Dl_info object;
  if (dladdr(caller, &object) == 0 || object.dli_fname == NULL) return 0;
  const char* slash = strrchr(object.dli_fname, '/');
  const char* name = slash == NULL ? object.dli_fname : slash + 1;
  return strncmp(name, "python", 6) == 0 || strncmp(name, "libpython", 9) == 0;
}

/* Whether this call is to fail; errno is set then. */
static int fails_for(enum call call, size_t bytes, void* caller) {
  struct plan* plan = &plans[call];
  if (plan->bytes_min > 0 && bytes < (size_t)plan->bytes_min) return 0;
  if (plan->spares_python && is_pythons(caller)) return 0;
  const int64_t number = atomic_fetch_add(&plan->seen, 1) + 1;
  if (plan->fail_from == 0 || number < plan->fail_from || number >= plan->fail_until) return 0;
  atomic_fetch_add(&plan->failed, 1);
  errno = (int)plan->error;
  return 1;
}

/* The caller is whoever called the function of the C library that this stands in. */
#define fails(call, bytes) fails_for((call), (bytes), __builtin_return_address(0))

int eventfd(unsigned int count, int flags) {
  return fails(EVENTFD, 0) ? -1 : (int)syscall(SYS_eventfd2, count, flags);
}

int accept4(int fd, struct sockaddr* restrict peer, socklen_t* restrict bytes, int flags) {
  /* Loops accept until nobody is there: what counts is a call with a client. */
  struct pollfd client = {fd, POLLIN, 0};
  if (poll(&client, 1, 0) > 0 && fails(ACCEPT, 0)) return -1;
  return (int)syscall(SYS_accept4, fd, peer, bytes, flags);
}

struct epoll_event;
int epoll_ctl(int epoll, int operation, int fd, struct epoll_event* event) {
  return fails(EPOLL_CTL, 0) ? -1 : (int)syscall(SYS_epoll_ctl, epoll, operation, fd, event);
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                   void* argument) {
  static int (*next)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  if (next == NULL) *(void**)&next = dlsym(RTLD_NEXT, "pthread_create");
  return fails(PTHREAD_CREATE, 0) ? errno : next(thread, attributes, run, argument);
}

extern void* __libc_malloc(size_t);
extern void* __libc_realloc(void*, size_t);
extern void* __libc_memalign(size_t, size_t);

void* malloc(size_t bytes) { return fails(MALLOC, bytes) ? NULL : __libc_malloc(bytes); }

void* realloc(void* memory, size_t bytes) {
  return fails(MALLOC, bytes) ? NULL : __libc_realloc(memory, bytes);
}

void* aligned_alloc(size_t alignment, size_t bytes) {
  return fails(ALIGNED, bytes) ? NULL : __libc_memalign(alignment, bytes);
}

int posix_memalign(void** memory, size_t alignment, size_t bytes) {
  if (fails(ALIGNED, bytes)) return ENOMEM;
  *memory = __libc_memalign(alignment, bytes);
  return *memory == NULL ? ENOMEM : 0;
}
