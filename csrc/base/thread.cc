#include "base/thread.h"

#include <signal.h>

namespace fastserve {

int StartThread(pthread_t* thread, void* (*main)(void*), void* argument) {
  // Blocked here for a moment, because a thread inherits the mask: there is no instant at which the
  // new one could be chosen to handle a signal.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = pthread_create(thread, nullptr, main, argument);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return error;
}

}  // namespace fastserve
