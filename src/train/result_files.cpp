// SPDX-License-Identifier: Apache-2.0
#include "train/result_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "core/log.hpp"
#include "io/files/file.hpp"

namespace dstrain {

namespace {

using Json = nlohmann::json;  // keys sorted

constexpr std::int64_t most_bytes = 1 << 20;

/// What all_results.json holds; nothing where it is not a file of results.
Json earlier_results(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return Json::object();
  auto json = Json::parse(read_file(path, most_bytes), nullptr, false);
  if (json.is_object()) return json;
  log::warning("{} is no JSON object and is replaced", path.string());
  return Json::object();
}

/// Whole numbers (epochs, flops) keep their decimal point, as Python writes floats.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

}  // namespace

void save_results(const std::filesystem::path& folder, const std::string& split, const Metrics& metrics) {
  Json results = Json::object();
  for (const auto& [name, value] : metrics) results[name] = number(value);
  write_file_atomically(folder / (split + "_results.json"), results.dump(4));
  const auto path = folder / "all_results.json";
  Json all = earlier_results(path);
  all.update(results);
  write_file_atomically(path, all.dump(4));
}

void add_perplexity(Metrics& metrics) {
  Metrics more;
  for (const auto& [name, value] : metrics) {
    if (!name.ends_with("_loss")) continue;
    more[name.substr(0, name.size() - 4) + "perplexity"] = std::exp(value);
    if (name == "eval_loss") more["perplexity"] = std::exp(value);
  }
  metrics.merge(more);
}

std::string results_table(const std::string& split, const Metrics& metrics) {
  std::size_t widest = 0;
  for (const auto& [name, value] : metrics) widest = std::max(widest, name.size());
  std::string text = fmt::format("***** {} metrics *****\n", split);
  for (const auto& [name, value] : metrics) text += fmt::format("  {:<{}} = {:>10.4f}\n", name, widest, value);
  return text;
}

}  // namespace dstrain
