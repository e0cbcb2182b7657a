// SPDX-License-Identifier: Apache-2.0
/// Any bytes as a CSV file of the alpaca form: refused with a message, or one sample for each row.
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "data/dataset_reader.hpp"
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dstrain;
  const std::string name = "fuzz-csv-" + std::to_string(::getpid()) + ".csv";
  std::ofstream(name, std::ios::binary) << fuzz::text_of(data, size);
  const int outcome = fuzz::refuse_or_survive([&] {
    DatasetDescription description;
    description.name = "d";
    description.file_name = name;
    const auto source = open_dataset_files(std::move(description), ".");
    DatasetCursor cursor(source);
    std::vector<RawRow> rows(1);
    std::int64_t after = -1;
    while (cursor.next(rows.front())) {
      if (rows.front().offset <= after) __builtin_trap();  // two rows that begin at the same byte
      after = rows.front().offset;
      if (csv_fields(rows.front().text).empty()) __builtin_trap();
      (void)to_samples(rows, 1);
    }
  });
  std::remove(name.c_str());
  return outcome;
}
