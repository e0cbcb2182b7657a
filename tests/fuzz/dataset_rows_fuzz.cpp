// SPDX-License-Identifier: Apache-2.0
/// Any bytes as dataset_info.json and, behind "====", as a file of the dataset "d" (the first line names its type):
/// refused with a message, or samples.
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "data/dataset_reader.hpp"
#include "fuzz.hpp"

namespace {

constexpr std::string_view types[] = {"json", "jsonl", "csv", "txt"};

/// A name that says the type which the first letter of the file chooses.
std::string file_of(std::string_view& bytes) {
  const auto choice = bytes.empty() ? 0U : static_cast<unsigned char>(bytes.front()) % std::size(types);
  if (!bytes.empty()) bytes.remove_prefix(1);
  return "fuzz-rows-" + std::to_string(::getpid()) + "." + std::string(types[choice]);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dstrain;
  std::string_view rest = fuzz::text_of(data, size);
  const std::string info(fuzz::next_file(rest));
  const std::string name = file_of(rest);
  std::ofstream(name, std::ios::binary) << rest;
  const int outcome = fuzz::refuse_or_survive([&] {
    auto description = find_dataset(info, "d", "dataset_info.json");
    description.file_name = name;
    std::vector<DatasetSource> sources;
    sources.push_back(open_dataset_files(std::move(description), "."));
    NumpyLegacyRandom random(1);
    if (sources.front().description.num_samples.value_or(0) > 1000) return;  // as many rows as the input asks for
    DatasetReader reader(sources, {}, random);
    while (true) {
      const auto rows = reader.next(100);
      for (const auto& sample : to_samples(rows, 1)) {
        if (!sample.problem.empty() && !sample.prompt.empty()) __builtin_trap();  // skipped, yet with a prompt
      }
      if (rows.size() < 100) break;
    }
  });
  std::remove(name.c_str());
  return outcome;
}
