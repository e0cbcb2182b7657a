// SPDX-License-Identifier: Apache-2.0
#include "cluster/gpu_locality.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <fstream>
#include <set>
#include <string_view>

namespace dstrain {
namespace {

constexpr int most_cpus = 1 << 16;

std::optional<int> number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0 || value >= most_cpus) return std::nullopt;
  return value;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const auto end = std::min(text.find(',', begin), text.size());
    auto part = text.substr(begin, end - begin);
    part.erase(std::remove_if(part.begin(), part.end(), [](unsigned char c) { return std::isspace(c) != 0; }),
               part.end());
    parts.push_back(part);
    begin = end + 1;
  }
  return parts;
}

/// The value of "GPU UUID:   GPU-..." in the driver's file.
std::string uuid_in(const std::filesystem::path& information) {
  std::ifstream file(information);
  std::string line;
  while (std::getline(file, line) && line.size() < 4096) {
    if (!line.starts_with("GPU UUID:")) continue;
    const auto begin = line.find_first_not_of(" \t", 9);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return {};
}

const GpuPlace* named(const std::vector<GpuPlace>& gpus, const std::string& name) {
  if (const auto index = number(name))
    return *index < static_cast<int>(gpus.size()) ? &gpus[static_cast<std::size_t>(*index)] : nullptr;
  if (name.size() < 5) return nullptr;
  const auto at = std::find_if(gpus.begin(), gpus.end(), [&](const GpuPlace& g) { return g.uuid.starts_with(name); });
  return at == gpus.end() ? nullptr : &*at;
}

}  // namespace

std::vector<GpuPlace> gpus_of_machine(const std::filesystem::path& root) {
  std::vector<GpuPlace> gpus;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(root / "proc/driver/nvidia/gpus", error)) {
    auto pci = entry.path().filename().string();
    std::transform(pci.begin(), pci.end(), pci.begin(), [](unsigned char c) { return std::tolower(c); });
    gpus.push_back({pci, uuid_in(entry.path() / "information")});
  }
  std::sort(gpus.begin(), gpus.end(), [](const auto& a, const auto& b) { return a.pci < b.pci; });
  return gpus;
}

std::optional<GpuPlace> gpu_of_rank(const std::vector<GpuPlace>& gpus, const std::optional<std::string>& visible,
                                    int local_rank) {
  std::vector<GpuPlace> left;
  if (!visible) {
    left = gpus;
  } else {
    for (const auto& name : split(*visible)) {
      const GpuPlace* gpu = named(gpus, name);
      if (gpu == nullptr) break;
      left.push_back(*gpu);
    }
  }
  if (left.size() == 1) return left.front();  // the launcher gave each rank its own
  if (local_rank < 0 || local_rank >= static_cast<int>(left.size())) return std::nullopt;
  return left[static_cast<std::size_t>(local_rank)];
}

std::vector<int> cpus_near(const GpuPlace& gpu, const std::filesystem::path& root) {
  std::ifstream file(root / "sys/bus/pci/devices" / gpu.pci / "local_cpulist");
  std::string text;
  std::getline(file, text);
  return parse_cpu_list(text);
}

std::vector<int> parse_cpu_list(const std::string& text) {
  std::set<int> cpus;
  for (const auto& part : split(text)) {
    const auto dash = part.find('-');
    const auto first = number(part.substr(0, dash));
    const auto last = dash == std::string::npos ? first : number(part.substr(dash + 1));
    if (!first || !last || *last < *first) return {};
    for (int cpu = *first; cpu <= *last; ++cpu) cpus.insert(cpu);
  }
  return {cpus.begin(), cpus.end()};
}

}  // namespace dstrain
