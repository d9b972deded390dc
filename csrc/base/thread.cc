#include "base/thread.h"

#include <signal.h>

#include <initializer_list>

namespace fastserve {

int StartThread(pthread_t* thread, void* (*main)(void*), void* argument) {
  // Blocked here for a moment, because a thread inherits the mask: there is no instant at which the
  // new one could be chosen to handle a signal.
  sigset_t sent;
  sigset_t before;
  sigfillset(&sent);
  for (const int fault : {SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP}) {
    sigdelset(&sent, fault);
  }
  pthread_sigmask(SIG_SETMASK, &sent, &before);
  const int error = pthread_create(thread, nullptr, main, argument);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return error;
}

}  // namespace fastserve
