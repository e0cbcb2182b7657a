// SPDX-License-Identifier: Apache-2.0
/// Every file of the collected configurations goes through the resolver. corpus.txt says what comes out; it holds no
/// word of the files. DSTRAIN_UPDATE_EXPECTED=1 writes it anew.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "resolve_support.hpp"
#include "shell_words.hpp"
#include "support/shared_data.hpp"

namespace dstrain {
namespace {

namespace fs = std::filesystem;

std::string contents_of(const fs::path& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

/// Reads the disk; what a LLaMA-Factory checkout has under examples/deepspeed is taken from the collection.
FileAccess with_examples(const fs::path& configs) {
  const auto disk = FileAccess::local();
  const auto moved = [configs](const fs::path& path) {
    return path.string().starts_with("examples/deepspeed/") ? configs / "llamafactory/deepspeed" / path.filename()
                                                            : path;
  };
  FileAccess files;
  files.read = [disk, moved](const fs::path& path) { return disk.read(moved(path)); };
  files.exists = [disk, moved](const fs::path& path) { return disk.exists(moved(path)); };
  return files;
}

/// Machines' files, a table, a container: dstrain's other commands read some of them.
bool is_configuration(const fs::path& file) {
  const std::string name = file.filename().string();
  for (const char* part : {"hostfile", "hsotfile", "deepspeed_env", "ssh_config", "etc_hosts", "docker-compose",
                           "estimator", "nccl_env"}) {
    if (name.find(part) != std::string::npos) return false;
  }
  return true;
}

std::vector<std::vector<std::string>> command_lines(const fs::path& file) {
  const auto extension = file.extension();
  if (extension == ".sh") return test::launch_commands(contents_of(file));
  if (extension != ".args") return {{file.string()}};
  std::vector<std::string> words;
  std::istringstream in(contents_of(file));
  for (std::string word; in >> word;) words.push_back(word);
  return {words};
}

class Corpus {
 public:
  explicit Corpus(fs::path configs) : configs_(std::move(configs)), files_(with_examples(configs_)) {}

  std::string table() {
    std::set<fs::path> all;
    for (const auto& entry : fs::recursive_directory_iterator(configs_)) {
      if (entry.is_regular_file()) all.insert(entry.path());
    }
    std::string out;
    for (const auto& file : all) {
      const auto name = file.lexically_relative(configs_).string();
      if (!is_configuration(file)) {
        out += name + ": not a config\n";
        continue;
      }
      const auto lines = command_lines(file);
      if (lines.empty()) out += name + ": no command line\n";
      for (const auto& words : lines) out += name + ": " + outcome(words, file) + "\n";
    }
    return out;
  }

 private:
  std::string outcome(const std::vector<std::string>& words, const fs::path& file) {
    // Names inside a script are seen from its folder, where the collection puts a number before them.
    auto files = files_;
    files.read = [this, file](const fs::path& path) {
      auto text = files_.read(path);
      if (!text && path.is_relative()) text = files_.read(file.parent_path() / path);
      const auto number = file.filename().string().substr(0, 4);
      return text || path.is_absolute() ? text : files_.read(file.parent_path() / (number + path.string()));
    };
    std::string missing;
    const auto error = test::error_of([&] {
      const auto resolved = resolve_config(parse_arguments(words), files, {.may_be_incomplete = true});
      for (const auto& one : resolved.missing) missing += "; a run also needs: " + one.text;
    });
    return error == "no error" ? "resolves" + missing : "refused: " + without_paths(error);
  }

  std::string without_paths(std::string text) const {
    const auto prefix = configs_.string() + "/";
    for (auto at = text.find(prefix); at != std::string::npos; at = text.find(prefix)) text.erase(at, prefix.size());
    for (auto at = text.find('\n'); at != std::string::npos; at = text.find('\n')) text.replace(at, 1, " / ");
    return text;
  }

  fs::path configs_;
  FileAccess files_;
};

TEST(Corpus, EveryFileHasItsOutcome) {
  const auto shared = test::shared_dir();
  if (!shared) GTEST_SKIP() << "skipped: no ../shared";
  const auto expected_at = fs::path(DSTRAIN_SOURCE_DIR) / "tests/unit/config/corpus.txt";

  const auto table = Corpus(*shared / "data/configs").table();
  if (std::getenv("DSTRAIN_UPDATE_EXPECTED") != nullptr) std::ofstream(expected_at) << table;

  std::istringstream ours(table), expected(contents_of(expected_at));
  int lines = 0;
  for (std::string a, b; std::getline(ours, a); ++lines) {
    ASSERT_TRUE(std::getline(expected, b)) << "not in corpus.txt: " << a;
    EXPECT_EQ(a, b);
  }
  EXPECT_GE(lines, 80);
}

TEST(ShellWords, FillsInVariablesAndDropsRedirections) {
  const auto commands = test::launch_commands(
      "#!/bin/bash\nOUT=$1\nif [ \"$OUT\" == \"\" ]; then\n  OUT=./out\nfi\nexport ARGS=\" \\\n --a 1 \\\n --b\"\n"
      "deepspeed main.py \\\n  --x \"y z\" --out $OUT $ARGS $UNSET &> $OUT/log\necho done\n");

  ASSERT_EQ(commands.size(), 1U);
  EXPECT_EQ(commands[0], (std::vector<std::string>{"deepspeed", "main.py", "--x", "y z", "--out", "./out", "--a", "1",
                                                   "--b", "$UNSET"}));
}

}  // namespace
}  // namespace dstrain
