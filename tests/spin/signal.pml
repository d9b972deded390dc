/* Signal (csrc/sync/signal.h): sleepers and notifiers, and no wake-up is lost.
 *
 * NOTIFIERS threads push PUSHES jobs each and notify after each. SLEEPERS threads prepare, look,
 * and sleep when there is nothing. When all jobs are done they are told to stop. If a wake-up is
 * lost, all of them sleep before that, and Spin reports an invalid end state.
 *
 * The word is taken apart into its bit (somebody may sleep) and its epoch; that 2^31 notifications
 * make the epoch come round is the one thing that is not in here (EPOCHS is more than there are).
 *
 * Broken on purpose, each of which must be found:
 *   LOOKS_BEFORE_PREPARE  the sleeper looks for work, then takes its key
 *   NO_EPOCH              Notify takes the mark away and counts nothing
 *   WAKES_ONE             Notify wakes one of those that sleep
 *   TORN_FUTEX            the kernel compares, and falls asleep later
 */
#define SLEEPERS 2
#define NOTIFIERS 2
#define PUSHES 2
#define EPOCHS 16

bool marked;          /* Bit 0 of the word. */
byte epoch;           /* The other bits. */
bool asleep[SLEEPERS]; /* In the kernel's list of this word. */
byte jobs;
byte ended;
bool stopped;

#ifdef NO_EPOCH
#define NEXT_EPOCH epoch
#else
#define NEXT_EPOCH (epoch + 1) % EPOCHS
#endif

/* One read-modify-write; a compare-exchange that fails and is tried again is the same as a later
 * one. SYNC(signal-notified) */
inline Notify(was_marked, i) {
  atomic { was_marked = marked; marked = false; epoch = NEXT_EPOCH }
  if
  :: was_marked ->
     atomic {
       i = 0;
       do
       :: i < SLEEPERS ->
#ifdef WAKES_ONE
          if
          :: asleep[i] -> asleep[i] = false; break
          :: else
          fi;
#else
          asleep[i] = false;
#endif
          i++
       :: else -> break
       od
     }
  :: else
  fi
}

/* SYNC(signal-notified) */
inline Prepare(key) {
  atomic { marked = true; key = epoch }
}

/* The look at the word that may save the system call, then the system call.
 * SYNC(signal-notified) */
inline Wait(id, key) {
  if
  :: !marked || epoch != key
  :: else ->
#ifdef TORN_FUTEX
     if
     :: !marked || epoch != key
     :: marked && epoch == key -> asleep[id] = true; !asleep[id]
     fi
#else
     atomic {
       if
       :: !marked || epoch != key
       :: else -> asleep[id] = true
       fi
     }
     !asleep[id]
#endif
  fi
}

proctype Notifier() {
  byte pushed, i;
  bool was_marked;
  do
  :: pushed < PUSHES -> jobs++; pushed++; Notify(was_marked, i)
  :: else -> break
  od
}

proctype Sleeper(byte id) {
  byte key;
  bool found;
  do
  :: stopped -> break
  :: else ->
#ifdef LOOKS_BEFORE_PREPARE
     found = false;
     atomic { if :: jobs > 0 -> jobs--; ended++; found = true :: else fi }
     Prepare(key);
#else
     Prepare(key);
     found = false;
     atomic { if :: jobs > 0 -> jobs--; ended++; found = true :: else fi }
#endif
     if
     :: found || stopped
     :: else -> Wait(id, key)
     fi
  od
}

/* As Scheduler::Stop. */
proctype Stopper() {
  byte i;
  bool was_marked;
  ended == NOTIFIERS * PUSHES;
  stopped = true;
  Notify(was_marked, i)
}

init {
  byte n;
  atomic {
    for (n : 0 .. SLEEPERS - 1) { run Sleeper(n) }
    for (n : 1 .. NOTIFIERS) { run Notifier() }
    run Stopper()
  }
}
