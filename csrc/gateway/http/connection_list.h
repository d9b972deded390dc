// ConnectionList: the open connections of a gateway.
//
// Linked through members of theirs, so that opening and closing allocate nothing.
//
// Threads: confined to the event loop's.
#pragma once

#include <cstddef>

#include "gateway/http/connection.h"

namespace fastserve {

class ConnectionList {
 public:
  void Add(Connection* connection) noexcept;
  void Remove(Connection* connection) noexcept;
  size_t size() const { return size_; }

  // Calls `visit` for each; a visit may close its own connection.
  template <typename Visit>
  void ForEach(Visit&& visit) const {
    for (Connection* connection = first_; connection != nullptr;) {
      Connection* const next = connection->next_;
      visit(*connection);
      connection = next;
    }
  }

 private:
  Connection* first_ = nullptr;
  size_t size_ = 0;
};

// ---------------------------------------------------------------------------------------------
// Implementation below, callers may stop here.

inline void ConnectionList::Add(Connection* connection) noexcept {
  connection->previous_ = nullptr;
  connection->next_ = first_;
  if (first_ != nullptr) first_->previous_ = connection;
  first_ = connection;
  ++size_;
}

inline void ConnectionList::Remove(Connection* connection) noexcept {
  (connection->previous_ != nullptr ? connection->previous_->next_ : first_) = connection->next_;
  if (connection->next_ != nullptr) connection->next_->previous_ = connection->previous_;
  connection->previous_ = connection;  // Marks it as removed.
  connection->next_ = nullptr;
  --size_;
}

}  // namespace fastserve
