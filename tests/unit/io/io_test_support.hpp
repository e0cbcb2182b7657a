// SPDX-License-Identifier: Apache-2.0
/// Scratch folders and damage for the tests of io.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "core/error.hpp"

namespace dstrain::test {

/// An empty folder of its own for the running test (the same name on every rank of a distributed test).
inline std::filesystem::path test_folder(const std::string& suffix = {}) {
  const auto* info = testing::UnitTest::GetInstance()->current_test_info();
  auto name = std::string(info->test_suite_name()) + "." + info->name() + suffix;
  for (auto& c : name) {
    if (c == '/') c = '_';
  }
  return std::filesystem::path(DSTRAIN_TEST_TMP) / name;
}

inline std::filesystem::path fresh_folder() {
  const auto path = test_folder();
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path;
}

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Turns one bit of the byte at `offset` over.
inline void flip_bit(const std::filesystem::path& path, std::int64_t offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(offset);
  const char byte = static_cast<char>(file.get());
  file.seekp(offset);
  file.put(static_cast<char>(byte ^ 0x10));
  ASSERT_TRUE(file.good());
}

/// What an Error said, with its place; empty where nothing was thrown.
inline std::string error_of(const std::function<void()>& step) {
  try {
    step();
  } catch (const Error& error) {
    return std::string(error.what()) + " (" + error.where() + ")";
  }
  return {};
}

}  // namespace dstrain::test

/// The statement throws an Error whose message or place contains `part`.
#define EXPECT_ERROR(statement, part)                                                            \
  do {                                                                                           \
    const std::string dstrain_said = ::dstrain::test::error_of([&] { statement; });              \
    EXPECT_NE(dstrain_said.find(part), std::string::npos) << "said: \"" << dstrain_said << "\""; \
  } while (false)
