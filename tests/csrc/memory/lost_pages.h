// Equipment for memory that goes away: objects in /dev/shm that do not stay behind, bytes that
// several threads touch at once, and a child to die in.
//
// What a killed test left is removed by a test program that makes any an hour later.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace fastserve {

inline const std::string kObjectPrefix = "fastserve-test-";

// Those of an hour ago belong to a test that was killed. Whether a process of their number lives
// would say nothing: containers may share /dev/shm without sharing processes.
inline void RemoveObjectsOfTheDead() {
  const auto limit = std::filesystem::file_time_type::clock::now() - std::chrono::hours(1);
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
    std::error_code ignored;
    if (entry.path().filename().native().starts_with(kObjectPrefix) &&
        entry.last_write_time(ignored) < limit) {
      std::filesystem::remove(entry.path(), ignored);
    }
  }
}

// A key that nobody else uses.
inline std::string NewKey() {
  static const bool is_swept = (RemoveObjectsOfTheDead(), true);
  (void)is_swept;
  static const uint64_t mine = std::random_device()();
  static std::atomic<int> made{0};
  return "/" + kObjectPrefix + std::to_string(mine) + "-" + std::to_string(getpid()) + "-" +
         std::to_string(++made);
}

// What a client makes.
class ShmObject {
 public:
  explicit ShmObject(size_t bytes) : key_(NewKey()) {
    file_ = shm_open(key_.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
    EXPECT_GE(file_, 0) << key_;
    Truncate(bytes);
  }
  ShmObject(const ShmObject&) = delete;
  ShmObject& operator=(const ShmObject&) = delete;
  ~ShmObject() {
    Unlink();
    close(file_);
  }

  const std::string& key() const { return key_; }
  int file() const { return file_; }
  void Unlink() const { shm_unlink(key_.c_str()); }
  void Truncate(size_t bytes) const { EXPECT_EQ(ftruncate(file_, static_cast<off_t>(bytes)), 0); }
  void Write(size_t offset, std::string_view text) const {
    EXPECT_EQ(pwrite(file_, text.data(), text.size(), static_cast<off_t>(offset)),
              static_cast<ssize_t>(text.size()));
  }
  std::string Read(size_t offset, size_t size) const {
    std::string text(size, '?');
    EXPECT_EQ(pread(file_, text.data(), size, static_cast<off_t>(offset)),
              static_cast<ssize_t>(size));
    return text;
  }

 private:
  std::string key_;
  int file_ = -1;
};

// Bytes that others touch at the same time.
inline unsigned char Get(std::span<std::byte> bytes, size_t index) {
  return std::atomic_ref(reinterpret_cast<unsigned char&>(bytes[index]))
      .load(std::memory_order_relaxed);
}
inline void Set(std::span<std::byte> bytes, size_t index, unsigned char value) {
  std::atomic_ref(reinterpret_cast<unsigned char&>(bytes[index]))
      .store(value, std::memory_order_relaxed);
}
inline std::string_view TextOf(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// How many mappings of this process bear `name`, and how many of its descriptors.
inline int MappingsOf(std::string_view name) {
  int count = 0;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find(name) != std::string::npos) ++count;
  }
  return count;
}
inline int DescriptorsOf(std::string_view name) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code ignored;
    const auto target = std::filesystem::read_symlink(entry.path(), ignored);
    if (target.native().find(name) != std::string::npos) ++count;
  }
  return count;
}

// What waitpid says of a child that runs `act` and exits with what it returns. No core is written.
template <typename Act>
int StatusOfChild(Act act) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    const rlimit none{};
    setrlimit(RLIMIT_CORE, &none);
    _exit(act());
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

}  // namespace fastserve
