// StartThread: a thread that receives no signals, which are for the process's own threads.
//
// Except those that say what its own instruction did (SIGBUS, SIGSEGV and the like): of these the
// kernel kills who blocks them, and no handler could report it, or mend it
// (memory/bus_error_guard.h).
//
// Threads: any. The thread is the caller's to join, or to leave running as long as the process
// does.
#pragma once

#include <pthread.h>

namespace fastserve {

// 0, or the system's error number.
int StartThread(pthread_t* thread, void* (*main)(void*), void* argument);

}  // namespace fastserve
