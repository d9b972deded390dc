// RunAtLowPriority: work that those who serve shall not notice.
//
// It gets what they leave of the processors (SCHED_IDLE), and next to nothing where they leave
// nothing. A thread that is merely nice is not out of the way at once when another wakes up: with
// nice 10 and 19 a model beside a load of 300 MB fell behind for good at 30 % of its capacity.
//
// On a thread of its own, because the priority of a thread can be lowered by everybody and raised
// again by few, and because the threads that it starts inherit it. So `work` must start none that
// outlive it. It must not need the GIL either: whoever waits for it would wait for a slow thread.
//
// Threads: any; blocks until it is done.
#pragma once

#include <functional>

namespace fastserve {

void RunAtLowPriority(const std::function<void()>& work);

}  // namespace fastserve
