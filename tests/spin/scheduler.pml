/* Scheduler (csrc/serving/scheduling/scheduler.h), invariant 4: nothing waits unseen.
 *
 * CALLERS threads submit a request each and come by with RunHere, RunUntil or Wake, as they like;
 * then they wait until it has ended. THREADS instance threads do as InstanceThread::Main does. One
 * more thread rehearses. A request that is left where nobody looks leaves its caller waiting when
 * all others sleep: an invalid end state. That instances are held once is asserted.
 *
 * What the scheduler decides is left open wherever the invariant must not depend on it: a batch may
 * be one request or all, cheap or not, wait for company or not until its time has come.
 * Time goes from 0 to NEVER - 1 and lets those who sleep with a deadline wake. What happens under
 * the mutex is one step: the others read and write nothing of it. That the Signal keeps its word is
 * shown by signal.pml; here it is a mark for each thread, "notified since it prepared".
 *
 * CALLERS, THREADS, REHEARSERS (0 or 1) and NEVER are given by whoever runs it: all of them at once
 * are too much, so several small worlds are searched.
 *
 * Broken on purpose:
 *   GIVES_BACK_BLINDLY   RunHere and RunSome give back and leave without another look
 *   RUNS_UNTIL_BLINDLY   so does RunUntil, once its request has ended
 *   REHEARSES_BLINDLY    so does Rehearse
 *   KEEPS_QUIET          RunHere does not notify when it finds what it may not run
 *   STAYS_ARMED          armed_until is kept when an instance's thread looks
 *   SLEEPS_BLINDLY       InstanceThread does not look between Prepare and Wait
 *   WAITS_ALONE          a caller that finds that waiting pays never wakes for it
 */
#ifndef CALLERS
#define CALLERS 2
#endif
#ifndef THREADS
#define THREADS 2
#endif
#ifndef REHEARSERS
#define REHEARSERS 1
#endif
#ifndef NEVER
#define NEVER 3
#endif
#define INSTANCES THREADS
#define RUNS_MAX 2

byte now;
bool notified[THREADS];
byte waiting;           /* Requests that have a place. */
byte arrivals;          /* Complete pushes. Those that have begun show in `waiting` alone. */
byte line;
byte until;             /* When the line has waited long enough; of all its requests the earliest. */
byte idle = INSTANCES;
byte armed = NEVER;
byte ended;
bool stopped;

/* A moment that comes; at the end of time it is now. */
#define LATER (now < NEVER - 1 -> now + 1 : now)

/* SYNC(signal-notified) */
inline Notify() {
  d_step {
    notified[0] = true;
#if THREADS > 1
    notified[1] = true
#endif
  }
}
inline Wake() { if :: waiting > 0 -> Notify() :: else fi }

/* The place, then the cell: between them the request is counted and not seen.
 * SYNC(place-freed) SYNC(cell-filled) */
inline Submit() { waiting++; arrivals++ }

inline GiveBack(held) {
  d_step {
    assert(held > 0 && idle < INSTANCES);
    idle++;
    held = 0
  }
}

/* LookForWork: `held` is what is given back and what is taken: the number of requests, 0: none.
 * SYNC(cell-filled) */
inline LookForWork(is_thread, is_patient, held, sleep_until, wake) {
  atomic {
    if :: held > 0 -> GiveBack(held) :: else fi;
    sleep_until = NEVER;
    wake = false;
    if
    :: line == 0 && arrivals > 0 -> until = LATER
    :: else
    fi;
    line = line + arrivals;
    arrivals = 0;
#ifndef STAYS_ARMED
    if :: is_thread -> armed = NEVER :: else fi;
#endif
    if
    :: line == 0 || idle == 0 || stopped
    :: line > 0 && idle > 0 && !stopped && now < until -> /* kWaitUntil. */
       sleep_until = until;
       if
       :: is_thread -> armed = until
       :: else ->
#ifndef WAITS_ALONE
          wake = until < armed
#endif
       fi
    :: line > 0 && idle > 0 && !stopped -> /* kRun: of this cost, which is known or is not. */
       if
       :: !is_thread && !is_patient -> wake = true /* Not cheap. */
       :: true ->
          idle--;
          if
          :: held = line
          :: line > 1 -> held = 1
          fi;
          line = line - held;
          waiting = waiting - held; /* SYNC(place-freed) */
          if /* Those that are left may have come later. */
          :: line > 0 -> until = LATER
          :: true
          fi;
          if /* A long run of a patient caller, or not. */
          :: is_patient -> wake = idle > 0 && line > 0
          :: true
          fi
       fi
    fi;
#ifdef KEEPS_QUIET
    if :: !is_thread && held == 0 -> wake = false :: else fi;
#endif
  }
  if :: wake -> wake = false; Notify() :: else fi
}

/* Batch::Run: what it holds ends. */
inline Run(held) { ended = ended + held }

inline RunHere() {
  if
  :: waiting == 0
  :: else ->
     do
     :: LookForWork(false, false, held, sleep_until, wake);
        if
        :: held == 0 -> break
        :: else -> Run(held)
        fi;
#ifdef GIVES_BACK_BLINDLY
        GiveBack(held);
        break
#endif
     od
  fi
}

inline RunUntil() {
  if
  :: waiting == 0
  :: else ->
     do
     :: true -> /* Not done. */
        LookForWork(false, true, held, sleep_until, wake);
        if
        :: held == 0 -> break
        :: else -> Run(held)
        fi
     :: held > 0 -> /* Done, whoever did it. */
        GiveBack(held);
#ifndef RUNS_UNTIL_BLINDLY
        Wake();
#endif
        break
     od
  fi
}

proctype Caller() {
  byte held, sleep_until;
  bool wake;
  Submit();
  if
  :: true -> RunHere()
  :: true -> RunUntil()
  :: true -> Wake()
  fi;
  ended == CALLERS /* The answers, whoever computed them. */
}

inline RunSome() {
  runs = 0;
  do
  :: runs < RUNS_MAX ->
     LookForWork(true, false, held, sleep_until, wake);
     if
     :: held == 0 -> break
     :: else -> d_step { Run(held); runs++ }
     fi
  :: else ->
     GiveBack(held);
     break
  od
}

/* As InstanceThread::Main. */
proctype InstanceThread(byte id) {
  byte held, sleep_until, runs;
  bool wake;
  do
  :: stopped -> break
  :: else ->
     RunSome();
     if
     :: runs > 0
     :: else ->
        notified[id] = false; /* Prepare. SYNC(signal-notified) */
#ifndef SLEEPS_BLINDLY
        RunSome();
#endif
        if
        :: runs > 0 || stopped
        :: else -> notified[id] || now >= sleep_until /* Wait. SYNC(signal-notified) */
        fi
     fi
  od
}

proctype Rehearser() {
  byte held;
  atomic { if :: idle > 0 -> idle--; held = 1 :: else fi }
  if
  :: held > 0 ->
     GiveBack(held);
#ifndef REHEARSES_BLINDLY
     Wake()
#endif
  :: else
  fi
}

proctype Clock() {
  do
  :: now < NEVER - 1 -> now++
  :: else -> break
  od
}

/* As Scheduler::Stop, when all is done. */
proctype Stopper() {
  ended == CALLERS;
  assert(waiting == 0 && line == 0 && arrivals == 0);
  stopped = true;
  Notify()
}

init {
  byte n;
  atomic {
    for (n : 1 .. CALLERS) { run Caller() }
    for (n : 0 .. THREADS - 1) { run InstanceThread(n) }
#if REHEARSERS
    run Rehearser();
#endif
#if NEVER > 1
    run Clock();
#endif
    run Stopper()
  }
}
