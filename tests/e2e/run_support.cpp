// SPDX-License-Identifier: Apache-2.0
#include "run_support.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "io/safetensors/model.hpp"

namespace dstrain::test {

std::string binary() { return quoted(DSTRAIN_BINARY); }

std::filesystem::path fresh_folder() {
  const auto* info = testing::UnitTest::GetInstance()->current_test_info();
  std::string name = std::string(info->test_suite_name()) + "." + info->name();
  for (auto& c : name) c = c == '/' ? '_' : c;
  const auto folder = std::filesystem::path(DSTRAIN_TEST_TMP) / name;
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

std::string text_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::map<std::int64_t, double> logged(const std::filesystem::path& trainer_state, const std::string& key) {
  std::map<std::int64_t, double> values;
  std::ifstream in(trainer_state);
  if (!in) return values;
  const auto state = nlohmann::json::parse(in);
  for (const auto& entry : state.at("log_history")) {
    if (entry.contains(key)) values[entry.at("step").get<std::int64_t>()] = entry.at(key).get<double>();
  }
  return values;
}

std::map<std::string, std::vector<float>> weights_of(const std::filesystem::path& path) {
  const auto model = SafetensorsModel::open(path);
  std::map<std::string, std::vector<float>> weights;
  for (std::size_t i = 0; i < model.tensors().size(); ++i) {
    auto& values = weights[model.tensors()[i].name];
    values.resize(static_cast<std::size_t>(model.tensors()[i].count()));
    model.read(static_cast<std::int32_t>(i), 0, model.tensors()[i].count(), values.data());
  }
  return weights;
}

double relative_distance(const std::map<std::string, std::vector<float>>& a,
                         const std::map<std::string, std::vector<float>>& b, std::string* worst) {
  double largest = 0.0;
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  for (const auto& [name, expected] : b) {
    const auto at = a.find(name);
    if (at == a.end() || at->second.size() != expected.size()) return std::numeric_limits<double>::infinity();
    double difference = 0.0;
    double norm = 0.0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const double d = static_cast<double>(at->second[i]) - expected[i];
      difference += d * d;
      norm += static_cast<double>(expected[i]) * expected[i];
    }
    const double distance = std::sqrt(difference) / std::max(std::sqrt(norm), 1e-30);
    if (distance > largest) {
      largest = distance;
      if (worst != nullptr) *worst = name;
    }
  }
  return largest;
}

}  // namespace dstrain::test
