// SPDX-License-Identifier: Apache-2.0
/// Starting the binary and comparing what it leaves behind.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "support/process.hpp"

namespace dstrain::test {

/// Path of the binary under test.
std::string binary();

/// A fresh, empty folder for the running test.
std::filesystem::path fresh_folder();

/// All bytes of a file; none where it cannot be read.
std::string text_of(const std::filesystem::path& path);

/// "loss" of every entry of trainer_state.json's log_history, by step.
std::map<std::int64_t, double> logged(const std::filesystem::path& trainer_state, const std::string& key = "loss");

/// Every tensor of a safetensors file or model folder, as fp32.
std::map<std::string, std::vector<float>> weights_of(const std::filesystem::path& path);

/// max over tensors of |a - b| / |b| in the 2-norm; infinite where names or sizes differ. `worst` gets the tensor's
/// name.
double relative_distance(const std::map<std::string, std::vector<float>>& a,
                         const std::map<std::string, std::vector<float>>& b, std::string* worst = nullptr);

}  // namespace dstrain::test
