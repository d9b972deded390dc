// The thread that calls what was given to Future.add_done_callback.
//
// A callback is Python code that somebody waits for, so it cannot wait until the main thread, which
// may sleep in a lock, or whoever made the Future comes by. The thread is Python's own
// (threading.Thread, a daemon), started with the first callback that has to wait: threads of the
// core push what has ended and never take the GIL.
//
// Threads: PushToCallbacks from any; StartCallbacks with the GIL.
#pragma once

namespace fastserve::bind {

class Call;

// Starts the thread if need be; false with an exception set.
bool StartCallbacks();

// A call that has ended and has a Future with callbacks; the share goes along.
void PushToCallbacks(Call* call);

}  // namespace fastserve::bind
