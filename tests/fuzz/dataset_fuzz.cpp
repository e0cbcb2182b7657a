// SPDX-License-Identifier: Apache-2.0
/// Any bytes as dataset_info.json and, behind "====", the rows of its dataset "d" (the file type is the one it names).
#include <string>

#include "data/dataset_info.hpp"
#include "data/dataset_reader.hpp"
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dstrain;
  return fuzz::refuse_or_survive([&] {
    std::string_view rest = fuzz::text_of(data, size);
    const auto description = find_dataset(fuzz::next_file(rest), "d", "dataset_info.json");
    std::vector<DatasetFile> files(1);
    files[0].path = description.file_name;
    files[0].bytes = std::string(rest);
    (void)read_samples(description, files, std::nullopt);
  });
}
