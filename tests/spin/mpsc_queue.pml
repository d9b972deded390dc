/* MpscQueue (csrc/sync/mpsc_queue.h) behind the places of Scheduler::Submit.
 *
 * PRODUCERS threads reserve a place, push and go; one consumer pops and frees the places, some
 * later than others (requests wait in the scheduler's line after they were popped). Asserted: who
 * has a place finds a cell (Submit stops the process otherwise); each value comes out once, and
 * those of one producer in order. Lost values leave the consumer waiting: an invalid end state.
 *
 * Broken on purpose:
 *   PLACE_FIRST       the consumer frees the place, then the cell
 *   PUBLISHES_FIRST   a producer publishes the cell, then writes the value
 *   ONE_SEQUENCE      a popped cell shows the number that it showed when it was filled
 */
#define PRODUCERS 2
#define PUSHES 3
#define CAPACITY 2 /* Of the queue, and as many places. */
#define DONE (PRODUCERS * PUSHES)

byte sequence[CAPACITY];
byte value[CAPACITY]; /* 0: none. */
byte tail, head;
byte waiting;
byte last[PRODUCERS]; /* The last value popped of each. */
byte popped, released;

/* SYNC(place-freed) */
inline ReservePlace() {
  atomic { waiting < CAPACITY -> waiting++ }
}

inline TryPush(it, position) {
  do
  :: position = tail;
     if /* SYNC(cell-freed) */
     :: sequence[position % CAPACITY] < position -> assert(false) /* Full, in spite of the place. */
     :: sequence[position % CAPACITY] > position -> skip
     :: sequence[position % CAPACITY] == position ->
        atomic {
          if
          :: tail == position -> tail = position + 1; break
          :: else
          fi
        }
     fi
  od;
#ifdef PUBLISHES_FIRST
  sequence[position % CAPACITY] = position + 1;
  value[position % CAPACITY] = it
#else
  assert(value[position % CAPACITY] == 0);
  value[position % CAPACITY] = it;
  sequence[position % CAPACITY] = position + 1 /* SYNC(cell-filled) */
#endif
}

proctype Producer(byte id) {
  byte pushed, position;
  do
  :: pushed < PUSHES ->
     pushed++;
     ReservePlace();
     TryPush(id * PUSHES + pushed, position)
  :: else -> break
  od
}

inline Pop(it) {
  it = value[head % CAPACITY];
  assert(it != 0);
  assert(it > last[(it - 1) / PUSHES] || last[(it - 1) / PUSHES] == 0);
  last[(it - 1) / PUSHES] = it;
  popped++;
#ifdef PLACE_FIRST
  waiting--;
  released++;
#endif
  value[head % CAPACITY] = 0;
#ifdef ONE_SEQUENCE
  sequence[head % CAPACITY] = head + 1;
#else
  sequence[head % CAPACITY] = head + CAPACITY; /* SYNC(cell-freed) */
#endif
  head++
}

active proctype Consumer() {
  byte it;
  do
  :: released == DONE -> break
  :: sequence[head % CAPACITY] == head + 1 -> Pop(it) /* SYNC(cell-filled) */
#ifndef PLACE_FIRST
  :: released < popped -> waiting--; released++ /* SYNC(place-freed) */
#endif
  od
}

init {
  byte n;
  atomic {
    for (n : 0 .. CAPACITY - 1) { sequence[n] = n }
    for (n : 0 .. PRODUCERS - 1) { run Producer(n) }
  }
}
