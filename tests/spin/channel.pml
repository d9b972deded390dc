/* A channel's ring and its doorbell (csrc/sync/spsc_ring.h, doorbell.h): whoever sleeps on the bell,
 * or watches its descriptor, gets every record, whole and in order.
 *
 * One producer pushes RECORDS records and rings after each. Those who take them do so one at a time
 * (a mutex): a thread that sleeps (SLEEPER=1), an event loop that watches (WATCHER=1), or both, as a
 * client has them. When all are taken they are told to end, by a ring, as a client is when its
 * server goes. If a ring is lost somebody waits for ever, and Spin reports an invalid end state.
 *
 * The word is taken apart into its bits and its count; that 2^30 rings make the count come round is
 * not in here (COUNTS is more than there are). The producer waits while the ring is full.
 *
 * Broken on purpose, each of which must be found:
 *   LOOKS_BEFORE_PREPARE  the sleeper looks for records, then takes its key
 *   LOOKS_BEFORE_WATCH    the loop looks for records, then watches
 *   RINGS_FIRST           the producer rings, then publishes
 *   PUBLISHES_FIRST       the producer publishes, then writes the record
 *   FREES_FIRST           who takes a record gives its place away, then reads it
 *   NO_COUNT              Ring looks who is there and counts nothing
 *   WITHDRAWS_BOTH        Withdraw takes the watcher's bit away as well
 *   DRAINS_LAST           the loop takes the records, then makes its descriptor quiet
 */
#define SLOTS 2
#define RECORDS 3
#define COUNTS 8

byte slot[SLOTS];
byte tail, head;   /* As they stand in the ring. */
bool sleeps;       /* Bit 0 of the word. */
bool watches;      /* Bit 1. */
byte count;        /* The other bits. */
bool asleep;       /* In the kernel's list of this word. */
bool readable;     /* The watcher's descriptor. */
bool is_taking;    /* The mutex. */
byte taken;
bool is_over;

#ifdef NO_COUNT
#define NEXT_COUNT count
#else
#define NEXT_COUNT (count + 1) % COUNTS
#endif

/* One read-modify-write, then the system calls that it asks for. SYNC(doorbell-rung) */
inline Ring(slept, watched) {
  atomic { slept = sleeps; watched = watches; count = NEXT_COUNT }
  if
  :: slept -> asleep = false
  :: else
  fi;
  if
  :: watched -> readable = true
  :: else
  fi
}

/* SYNC(doorbell-rung) */
inline Withdraw() {
#ifdef WITHDRAWS_BOTH
  atomic { sleeps = false; watches = false }
#else
  sleeps = false
#endif
}

/* SYNC(record-put) SYNC(record-taken) */
inline TakeAll(found, record) {
  found = false;
  atomic { !is_taking -> is_taking = true };
  do
  :: tail > head ->
#ifdef FREES_FIRST
     head++;
     record = slot[(head - 1) % SLOTS];
#else
     record = slot[head % SLOTS];
     head++;
#endif
     taken++;
     found = true;
     assert(record == taken)
  :: else -> break
  od;
  is_taking = false
}

/* SYNC(record-put) SYNC(record-taken) */
proctype Producer() {
  byte pushed;
  bool slept, watched;
  do
  :: pushed < RECORDS ->
     tail - head < SLOTS;
#ifdef RINGS_FIRST
     Ring(slept, watched);
#endif
#ifdef PUBLISHES_FIRST
     tail++;
     slot[(tail - 1) % SLOTS] = pushed + 1;
#else
     slot[tail % SLOTS] = pushed + 1;
     tail++;
#endif
#ifndef RINGS_FIRST
     Ring(slept, watched);
#endif
     pushed++
  :: else -> break
  od
}

proctype Sleeper() {
  byte key, record;
  bool key_watches, found;
  do
  :: is_over -> break
  :: else ->
#ifdef LOOKS_BEFORE_PREPARE
     TakeAll(found, record);
     atomic { sleeps = true; key = count; key_watches = watches };
#else
     atomic { sleeps = true; key = count; key_watches = watches };
     TakeAll(found, record);
#endif
     if
     :: found || is_over
     :: else ->
        atomic {
          if
          :: !sleeps || count != key || watches != key_watches
          :: else -> asleep = true
          fi
        }
        !asleep
     fi;
     Withdraw()
  od
}

proctype Watcher() {
  byte record;
  bool found;
#ifdef LOOKS_BEFORE_WATCH
  TakeAll(found, record);
  watches = true;
#else
  watches = true;
  TakeAll(found, record);
#endif
  do
  :: is_over -> break
  :: else ->
     readable;
#ifdef DRAINS_LAST
     TakeAll(found, record);
     readable = false
#else
     readable = false;
     TakeAll(found, record)
#endif
  od
}

proctype Ender() {
  bool slept, watched;
  taken == RECORDS;
  is_over = true;
  Ring(slept, watched)
}

init {
  atomic {
    run Producer();
    run Ender();
    if
    :: SLEEPER -> run Sleeper()
    :: else
    fi;
    if
    :: WATCHER -> run Watcher()
    :: else
    fi
  }
}
