// SPDX-License-Identifier: Apache-2.0
#include "support/shared_data.hpp"

#include <fmt/core.h>

#include <cstdlib>

namespace dstrain::test {

std::optional<std::filesystem::path> shared_dir() {
  const char* from_environment = std::getenv("DSTRAIN_SHARED");
  const std::filesystem::path path =
      from_environment != nullptr ? from_environment : std::filesystem::path(DSTRAIN_SOURCE_DIR) / ".." / "shared";
  if (!std::filesystem::is_directory(path / "data")) return std::nullopt;
  return std::filesystem::canonical(path);
}

std::optional<std::filesystem::path> shared_data_unpacked(const std::filesystem::path& scratch) {
  const auto shared = shared_dir();
  if (!shared) return std::nullopt;
  const auto out = scratch / "shared-data";
  std::filesystem::create_directories(out);
  const auto command =
      fmt::format("bash '{}' '{}' >/dev/null", (*shared / "data" / "unpack.sh").string(), out.string());
  if (std::system(command.c_str()) != 0) return std::nullopt;
  return out;
}

}  // namespace dstrain::test
