// SPDX-License-Identifier: Apache-2.0
/// A main for fuzzers where libFuzzer is not at hand: the corpus as it is, then changed inputs made with a fixed seed.
///
///     fuzz_NAME CORPUS_FOLDER MUTATIONS MAX_BYTES     replay
///     fuzz_NAME FILE                                  one input, for instance the one a failed replay left behind
///
/// An input that ends the program is written to ./crash-fuzz_NAME first.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::uint64_t seed = 20250801;
constexpr double slow_s = 20.0;  // sanitizers and a loaded machine included

std::string current;     // the input at work, for the signal handler
std::string crash_file;  // its place

void save_current() {
  const int file = open(crash_file.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0644);
  if (file < 0) return;
  for (std::size_t done = 0; done < current.size();) {
    const auto n = write(file, current.data() + done, current.size() - done);
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  close(file);
}

void on_crash(int signal) {
  save_current();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

/// One input. False where it must not have behaved so.
bool run(std::string input) {
  current = std::move(input);
  const auto start = Clock::now();
  try {
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(current.data()), current.size());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "an exception left the fuzzer: %s (input: %s)\n", e.what(), crash_file.c_str());
    save_current();
    return false;
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  if (seconds < slow_s) return true;
  std::fprintf(stderr, "an input of %zu bytes took %.1f s (%s)\n", current.size(), seconds, crash_file.c_str());
  save_current();
  return false;
}

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Changes as libFuzzer makes them: bits, bytes, numbers, and stretches removed, repeated or taken from another input.
class Mutator {
 public:
  Mutator(const std::vector<std::string>& corpus, std::size_t max_bytes) : corpus_(corpus), max_bytes_(max_bytes) {}

  std::string next() {
    std::string input = corpus_[below(corpus_.size())];
    for (std::size_t i = 0, n = 1 + below(6); i < n; ++i) change(input);
    if (input.size() > max_bytes_) input.resize(max_bytes_);
    return input;
  }

 private:
  std::size_t below(std::size_t n) { return n == 0 ? 0 : static_cast<std::size_t>(random_() % n); }

  void change(std::string& input) {
    if (input.empty()) input = "0";
    const std::size_t at = below(input.size());
    const std::size_t length = 1 + below(std::min<std::size_t>(input.size() - at, 64));
    switch (below(7)) {
      case 0:
        input[at] = static_cast<char>(input[at] ^ (1 << below(8)));
        break;
      case 1:
        input[at] = static_cast<char>(below(256));
        break;
      case 2:
        input.erase(at, length);
        break;
      case 3:
        input.insert(at, input.substr(below(input.size()), length));
        break;
      case 4: {
        const std::string& other = corpus_[below(corpus_.size())];
        const std::size_t from = below(other.size());
        input.insert(at, other.substr(from, 1 + below(256)));
        break;
      }
      case 5: {
        static constexpr const char* numbers[] = {"0",     "-1",   "2147483648", "18446744073709551615",
                                                  "1e400", "null", "\"\""};
        input.replace(at, length, numbers[below(std::size(numbers))]);
        break;
      }
      default: {
        const std::size_t again = 1 + below(64);
        const std::string part = input.substr(at, length);
        for (std::size_t i = 0; i < again && input.size() < max_bytes_; ++i) input.insert(at, part);
      }
    }
  }

  const std::vector<std::string>& corpus_;
  std::size_t max_bytes_;
  std::mt19937_64 random_{seed};
};

}  // namespace

int main(int argc, char** argv) {
  crash_file = "crash-" + std::filesystem::path(argv[0]).filename().string();
  for (const int signal : {SIGSEGV, SIGABRT, SIGFPE, SIGBUS, SIGILL}) std::signal(signal, on_crash);
  if (argc == 2) return run(read(argv[1])) ? 0 : 1;
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s CORPUS_FOLDER MUTATIONS MAX_BYTES | %s FILE\n", argv[0], argv[0]);
    return 2;
  }
  std::vector<std::string> corpus;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  for (const auto& path : paths) corpus.push_back(read(path));
  if (corpus.empty()) {
    std::fprintf(stderr, "%s holds no inputs\n", argv[1]);
    return 1;
  }
  for (const auto& input : corpus) {
    if (!run(input)) return 1;
  }
  const auto mutations = std::strtoull(argv[2], nullptr, 10);
  Mutator mutator(corpus, std::strtoull(argv[3], nullptr, 10));
  for (unsigned long long i = 0; i < mutations; ++i) {
    if (!run(mutator.next())) {
      std::fprintf(stderr, "changed input %llu of seed %llu\n", i, static_cast<unsigned long long>(seed));
      return 1;
    }
  }
  std::printf("%zu inputs and %llu changed ones\n", corpus.size(), mutations);
  return 0;
}
