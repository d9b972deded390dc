#include "kernels/rows.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace {

TEST(Rows, GatherPutsSourcesBackToBack) {
  const FsRowSource sources[] = {{"abcd", 2}, {"ef", 1}, {"ghij", 2}};
  std::string out(12, '.');
  EXPECT_EQ(fs_gather_rows(sources, 3, out.data(), 2, nullptr), 0);
  EXPECT_EQ(out, "abcdefghij..");
}

TEST(Rows, ScatterHandsRowsOutInOrder) {
  std::string first(3, '.');
  std::string second(5, '.');
  const FsRowTarget targets[] = {{first.data(), 1}, {second.data(), 2}};
  EXPECT_EQ(fs_scatter_rows("abcdef", targets, 2, 2, nullptr), 0);
  EXPECT_EQ(first, "ab.");
  EXPECT_EQ(second, "cdef.");
}

TEST(Rows, EmptySourcesAndTargetsNeedNoAddress) {
  char out = '.';
  const FsRowSource sources[] = {{nullptr, 0}, {"a", 1}, {nullptr, 0}};
  EXPECT_EQ(fs_gather_rows(sources, 3, &out, 1, nullptr), 0);
  EXPECT_EQ(out, 'a');
  const FsRowTarget targets[] = {{nullptr, 0}};
  EXPECT_EQ(fs_scatter_rows(nullptr, targets, 1, 1, nullptr), 0);
  EXPECT_EQ(fs_gather_rows(nullptr, 0, nullptr, 4, nullptr), 0);
}

TEST(Rows, ASizeThatOverflowsIsRefusedBeforeAnythingIsWritten) {
  std::string out = "..";
  const FsRowSource product[] = {{"ab", 1}, {"ab", SIZE_MAX / 2}};
  EXPECT_EQ(fs_gather_rows(product, 2, out.data(), 2, nullptr), FS_ROWS_TOO_LARGE);
  const FsRowTarget sum[] = {{out.data(), 1}, {out.data(), SIZE_MAX}};
  EXPECT_EQ(fs_scatter_rows("ab", sum, 2, 1, nullptr), FS_ROWS_TOO_LARGE);
  EXPECT_EQ(out, "..");
}

// Every size around the ones with a path of their own, at odd addresses, there and back.
TEST(Rows, ScatterUndoesGatherForEveryRowSize) {
  std::mt19937 random(1);
  for (size_t row_bytes = 1; row_bytes <= 70; ++row_bytes) {
    const size_t rows[] = {1, 3, 0, 2};
    std::string data(6 * row_bytes, '\0');
    for (char& c : data) c = static_cast<char>(random());
    std::vector<FsRowSource> sources;
    std::vector<FsRowTarget> targets;
    std::string back(data.size() + 1, '\0');
    size_t offset = 0;
    for (const size_t count : rows) {
      sources.push_back({data.data() + offset, count});
      targets.push_back({back.data() + 1 + offset, count});
      offset += count * row_bytes;
    }
    std::string out(data.size(), '\0');
    ASSERT_EQ(fs_gather_rows(sources.data(), 4, out.data(), row_bytes, nullptr), 0);
    ASSERT_EQ(out, data) << row_bytes;
    ASSERT_EQ(fs_scatter_rows(out.data(), targets.data(), 4, row_bytes, nullptr), 0);
    ASSERT_EQ(back.substr(1), data) << row_bytes;
  }
}

}  // namespace
