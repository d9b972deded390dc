// What only a thread with the GIL may let go of, left by threads of the core, which never take it.
//
// An input that came from Python lives as long as anybody reads it: the batch that runs, the answer
// that aliases it. The last of them may be an instance's thread. It leaves what is to be done here;
// the next thread that enters with the GIL does it, and a pending call asks the interpreter to come
// by soon, so that nothing lingers when no call follows.
//
//   RunWithGil(node);                      // any thread: now, if it said that it has the GIL
//   { const GilHeld held; ref = {}; }      // a thread with the GIL says so
//   RunDeferred();                         // a thread with the GIL does what others left
//
// Threads: RunWithGil from any; the rest with the GIL. A node is in one place at a time.
#pragma once

#include <pybind11/pybind11.h>

namespace fastserve::bind {

struct Deferred {
  // Called once, with the GIL; ends the node's life. May run any Python code.
  using Run = void (*)(Deferred*);
  explicit Deferred(Run run) : run(run) {}

  const Run run;
  Deferred* next_deferred = nullptr;
};

void RunWithGil(Deferred* node);
void RunDeferred();

// While one lives on a thread that has the GIL, RunWithGil runs there and then. Narrow: it must not
// span anything that gives the GIL up by other means than a GilPause.
class GilHeld {
 public:
  GilHeld();
  ~GilHeld();
  GilHeld(const GilHeld&) = delete;
  GilHeld& operator=(const GilHeld&) = delete;

 private:
  const bool before_;
};

// Gives the GIL up until Resume.
//
// Not in a destructor, and no frame above may be noexcept: a daemon thread that asks for the GIL
// while the interpreter ends never gets it, and until Python 3.14 its stack is unwound instead.
class GilPause {
 public:
  GilPause();
  void Resume();

 private:
  PyThreadState* const state_;
  const bool held_before_;
};

// From then on nothing asks the interpreter to come by: it is about to end.
void RegisterDeferred(pybind11::module_& module);

}  // namespace fastserve::bind
