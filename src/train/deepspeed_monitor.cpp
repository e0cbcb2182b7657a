// SPDX-License-Identifier: Apache-2.0
#include "train/deepspeed_monitor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "io/files/file.hpp"

namespace dstrain {
namespace {

double unix_time_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

CsvMonitor::CsvMonitor(std::filesystem::path folder) : folder_(std::move(folder)) { create_folder(folder_); }

void CsvMonitor::add(std::string_view tag, double value, std::int64_t samples) {
  auto at = files_.find(tag);
  if (at == files_.end()) {
    std::string name(tag);
    std::replace_if(
        name.begin(), name.end(), [](char c) { return c == '/' || c == ' '; }, '_');
    const auto path = folder_ / (name + ".csv");
    const bool fresh = !std::filesystem::exists(path) || std::filesystem::file_size(path) == 0;
    at = files_.emplace(std::string(tag), JsonlFile(path, JsonlFile::Mode::append)).first;
    if (fresh) at->second.append(fmt::format("step,{}", tag.substr(tag.rfind('/') + 1)));
  }
  at->second.append(fmt::format("{},{}", samples, value));
}

DeepSpeedMonitor::DeepSpeedMonitor(const RunConfig& config) {
  if (config.csv_monitor) csv_.emplace(*config.csv_monitor);
  if (config.tensorboard_monitor) events_.emplace(*config.tensorboard_monitor, unix_time_s());
}

void DeepSpeedMonitor::add(std::string_view tag, double value, std::int64_t samples) {
  if (csv_) csv_->add(tag, value, samples);
  if (events_) events_->add_scalar(tag, value, samples, unix_time_s());
}

}  // namespace dstrain
