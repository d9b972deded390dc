// Inbox: an unbounded letter box from many threads to one, emptied whole.
//
// The way of completions back to an event loop. The nodes are linked through a member of their own,
// so Push cannot fail and allocates nothing: a request that was admitted can always be answered.
// (Unbounded is safe here: there are never more completions than admitted requests.)
//
//   Inbox<Completion, &Completion::next> inbox;
//   if (inbox.Push(completion)) event_fd.Signal();                  // any thread
//
//   event_fd.Drain();                                               // the consumer: drain FIRST,
//   for (Completion* c = inbox.TakeAll(); c != nullptr;) { ... }    // then take
//
// Why the signal may be skipped when Push returns false: the push that found the inbox empty has
// signalled or is about to, and the consumer takes everything after that signal. In the other
// order (take, then drain) the consumer could swallow the signal of a push that it did not take.
//
// The inbox does not own its nodes: whoever pushes gives the node up until the consumer has it, and
// the consumer takes what is left before the inbox goes.
// Threads: Push and was_empty from any thread; TakeAll from any thread, but one at a time if
// arrival order across calls matters.
#pragma once

#include <atomic>

namespace fastserve {

// `Next` is the member of Node that links it; it belongs to the inbox from Push until TakeAll.
template <typename Node, Node* Node::* Next, template <typename> class Atom = std::atomic>
class Inbox {
 public:
  Inbox() { newest_.store(nullptr, std::memory_order_relaxed); }
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

  // True when the inbox was empty: the caller must then signal the consumer. After the call the
  // node may be gone already.
  [[nodiscard]] bool Push(Node* node) {
    Node* newest = newest_.load(std::memory_order_relaxed);
    do {
      node->*Next = newest;
      // SYNC(letter-posted): the node and its link become visible to TakeAll. Later pushes are
      // read-modify-writes, so taking the newest node makes all older ones visible too.
    } while (!newest_.compare_exchange_weak(newest, node, std::memory_order_release,
                                            std::memory_order_relaxed));
    return newest == nullptr;
  }

  // Everything pushed so far, oldest first, linked by `Next` and ended by null.
  Node* TakeAll() {
    // SYNC(letter-posted): pairs with Push. Nodes leave only all at once, so a node that comes back
    // to the same address between load and exchange (ABA) does no harm.
    Node* node = newest_.exchange(nullptr, std::memory_order_acquire);
    Node* oldest = nullptr;
    while (node != nullptr) {
      Node* older = node->*Next;
      node->*Next = oldest;
      oldest = node;
      node = older;
    }
    return oldest;
  }

  bool was_empty() const { return newest_.load(std::memory_order_relaxed) == nullptr; }

 private:
  Atom<Node*> newest_;
};

}  // namespace fastserve
