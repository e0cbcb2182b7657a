// SPDX-License-Identifier: Apache-2.0
/// The numbers of a run in the files that DeepSpeed's csv_monitor and tensorboard sections ask for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "config/run_config.hpp"
#include "io/files/jsonl.hpp"
#include "io/tensorboard/event_file.hpp"

namespace dstrain {

/// One CSV file for each tag, "Train/Samples/lr" in Train_Samples_lr.csv: a head line, then a line "samples,value" for
/// each event. A file that is there is gone on with. Local.
class CsvMonitor {
 public:
  /// @throws IoError  the folder cannot be made
  explicit CsvMonitor(std::filesystem::path folder);
  /// @throws IoError
  void add(std::string_view tag, double value, std::int64_t samples);

 private:
  std::filesystem::path folder_;
  std::map<std::string, JsonlFile, std::less<>> files_;  ///< by tag; each line is one write
};

/// Both monitors of a run, on rank 0. The x of every event is the number of samples behind the update.
class DeepSpeedMonitor {
 public:
  /// Whether the keys ask for one.
  static bool wanted(const RunConfig& config) { return config.csv_monitor || config.tensorboard_monitor; }
  explicit DeepSpeedMonitor(const RunConfig& config);

  void add(std::string_view tag, double value, std::int64_t samples);

 private:
  std::optional<CsvMonitor> csv_;
  std::optional<EventFile> events_;
};

}  // namespace dstrain
