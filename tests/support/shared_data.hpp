// SPDX-License-Identifier: Apache-2.0
/// Where the larger test data lies, for those who have it.
#pragma once

#include <filesystem>
#include <optional>

namespace dstrain::test {

/// The folder of the shared test data: $DSTRAIN_SHARED, else ../shared beside the source tree, else none (tests that
/// need it skip with "skipped: no ../shared"). `data/tokenizers` and `data/chat-vectors` are found unpacked in
/// shared_data_unpacked().
std::optional<std::filesystem::path> shared_dir();

/// data/ of shared_dir() laid out with its archives unpacked (once, under `scratch`); none where shared_dir() is none.
std::optional<std::filesystem::path> shared_data_unpacked(const std::filesystem::path& scratch);

}  // namespace dstrain::test
