#include "sync/event_fd.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <utility>

namespace fastserve {
namespace {

bool IsReadable(const EventFd& event) {
  pollfd poller{event.fd(), POLLIN, 0};
  return poll(&poller, 1, 0) == 1;
}

TEST(EventFd, IsReadableFromSignalUntilDrain) {
  Result<EventFd> event = EventFd::Create();
  ASSERT_TRUE(event.ok());
  EXPECT_FALSE(IsReadable(*event));
  event->Signal();
  EXPECT_TRUE(IsReadable(*event));
  (void)event->Drain();
  EXPECT_FALSE(IsReadable(*event));
}

TEST(EventFd, AddsSignalsUpAndDrainsWithoutBlocking) {
  Result<EventFd> event = EventFd::Create();
  ASSERT_TRUE(event.ok());
  for (int i = 0; i < 3; ++i) event->Signal();
  EXPECT_EQ(event->Drain(), 3u);
  EXPECT_EQ(event->Drain(), 0u);
}

TEST(EventFd, TakesItsDescriptorAlongWhenMoved) {
  Result<EventFd> event = EventFd::Create();
  ASSERT_TRUE(event.ok());
  const int fd = event->fd();
  const EventFd moved = std::move(*event);
  EXPECT_EQ(moved.fd(), fd);
  EXPECT_EQ(event->fd(), -1);
  moved.Signal();
  EXPECT_EQ(moved.Drain(), 1u);
}

}  // namespace
}  // namespace fastserve
