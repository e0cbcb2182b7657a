// SPDX-License-Identifier: Apache-2.0
/// Any bytes as the index of a sharded model: every file that it names lies beside it.
#include <filesystem>

#include "bytes_as_file.hpp"
#include "io/weights/index_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dstrain;
  const fuzz::BytesAsFile input(fuzz::text_of(data, size));
  return fuzz::refuse_or_survive([&] {
    for (const auto& [file, tensors] : read_weight_index(input.path())) {
      const std::filesystem::path path(file);
      if (path.filename() != path || file == "." || file == ".." || tensors.empty()) std::abort();
      if (file.find('\0') != std::string::npos) std::abort();
    }
  });
}
