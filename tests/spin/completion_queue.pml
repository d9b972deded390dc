/* CompletionQueue (csrc/gateway/completion_queue.h) with Inbox and EventFd: no completion is lost.
 *
 * Instance threads push; only the push that found the inbox empty writes to the eventfd. The loop
 * polls it, drains, takes. Now and then the loop runs a model itself: its pushes do not signal
 * (LoopScope), and it takes what is there when it is done. If a completion is lost the loop polls
 * for ever: an invalid end state. That none is taken twice is asserted.
 *
 * Broken on purpose:
 *   TAKES_FIRST      the loop takes, then drains the eventfd
 *   SIGNALS_FIRST    a push that sees the inbox empty writes to the eventfd before it links
 *   SCOPE_ONLY       the loop does not take after it ran a model
 */
#define THREADS 2
#define PUSHES 2
#define OWN 2 /* Completions of the loop's own runs. */
#define NODES (THREADS * PUSHES + OWN)

byte newest;           /* 0: null. */
byte older[NODES + 1]; /* The link of each node. */
byte taken[NODES + 1];
byte count;
byte eventfd;

/* A compare-exchange that fails begins again with what it found. SYNC(letter-posted) */
inline Link(node, found) {
  found = newest;
  do
  :: older[node] = found;
     atomic {
       if
       :: newest == found -> newest = node; break
       :: else -> found = newest
       fi
     }
  od
}

/* SYNC(letter-posted) */
inline TakeAll(node) {
  atomic { node = newest; newest = 0 }
  do
  :: node != 0 ->
     taken[node]++;
     assert(taken[node] == 1);
     count++;
     node = older[node]
  :: else -> break
  od
}

proctype InstanceThread(byte first) {
  byte node = first, found;
  do
  :: node < first + PUSHES ->
#ifdef SIGNALS_FIRST
     if :: newest == 0 -> eventfd++ :: else fi;
     Link(node, found);
#else
     Link(node, found);
     if :: found == 0 -> eventfd++ :: else fi;
#endif
     node++
  :: else -> break
  od
}

proctype Loop() {
  byte node, found, own;
  do
  :: count == NODES -> break
  :: eventfd > 0 -> /* Drain(true). */
#ifdef TAKES_FIRST
     TakeAll(node);
     eventfd = 0
#else
     eventfd = 0;
     TakeAll(node)
#endif
  :: own < OWN -> /* RunModels: a run, or two, whose sinks push on this thread; then Drain(false). */
     do
     :: own < OWN -> own++; node = THREADS * PUSHES + own; Link(node, found)
     :: own > 0 -> break
     od;
#ifndef SCOPE_ONLY
     TakeAll(node)
#endif
  od
}

init {
  byte n;
  atomic {
    for (n : 0 .. THREADS - 1) { run InstanceThread(1 + n * PUSHES) }
    run Loop()
  }
}
