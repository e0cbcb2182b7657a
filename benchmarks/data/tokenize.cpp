// SPDX-License-Identifier: Apache-2.0
/// Speed of one tokenizer on one core: benchmark_tokenize MODEL_DIR TEXT_FILE [REPEATS]
///
/// Each line of TEXT_FILE is a document. Prints the best and the median of REPEATS passes as one JSON line.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "data/tokenizer.hpp"

int main(int argc, char** argv) try {
  if (argc < 3) {
    fmt::print(stderr, "usage: {} MODEL_DIR TEXT_FILE [REPEATS]\n", argv[0]);
    return 2;
  }
  const auto tokenizer = dstrain::load_tokenizer(dstrain::read_tokenizer_files(argv[1]));
  std::ifstream file(argv[2], std::ios::binary);
  std::vector<std::string> documents;
  std::size_t bytes = 0;
  for (std::string line; std::getline(file, line);) {
    bytes += line.size();
    documents.push_back(std::move(line));
  }
  const int repeats = argc > 3 ? std::max(1, std::atoi(argv[3])) : 5;
  std::vector<double> seconds;
  std::size_t tokens = 0;
  std::vector<std::int32_t> ids;
  for (int pass = 0; pass < repeats; ++pass) {
    tokens = 0;
    const auto start = std::chrono::steady_clock::now();
    for (const auto& document : documents) {
      ids.clear();
      tokenizer.encode(document, ids);
      tokens += ids.size();
    }
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(seconds.begin(), seconds.end());
  const double megabytes = static_cast<double>(bytes) * 1e-6;
  fmt::print("{{\"bytes\": {}, \"tokens\": {}, \"best_mb_s\": {:.2f}, \"median_mb_s\": {:.2f}}}\n", bytes, tokens,
             megabytes / seconds.front(), megabytes / seconds[seconds.size() / 2]);
  return 0;
} catch (const dstrain::Error& e) {
  fmt::print(stderr, "error: {}\n", e.what());
  return 1;
}
