// SPDX-License-Identifier: Apache-2.0
/// Names of modules: paths out of tensor names, and PEFT's rules for what matches them.
#pragma once

#include <string>
#include <string_view>

namespace dstrain {

struct AdapterConfig;

/// "model.layers.0.self_attn.q_proj.weight" -> "model.layers.0.self_attn.q_proj".
std::string module_of(std::string_view tensor_name);
/// The last part of a path: "q_proj".
std::string_view last_part(std::string_view module) noexcept;

/// `module` is `name`, or ends in "." + name: what an entry of a list means.
bool is_or_ends_in(std::string_view module, std::string_view name) noexcept;

/// The whole of `module` matches the regular expression (Python's re.fullmatch; ECMAScript's grammar).
bool matches_whole(const std::string& pattern, const std::string& module);
/// The expression matches the path, or a tail of it that starts after a dot (PEFT's rank_pattern).
bool matches_tail(const std::string& pattern, const std::string& module);
/// @throws ConfigError  not a regular expression, or longer than any real one
void check_pattern(const std::string& pattern, const std::string& where);

/// PEFT's check_target_module_exists: target_modules, exclude_modules, layers_to_transform. Modules that are saved
/// whole get no adapter.
bool is_target(const AdapterConfig& config, const std::string& module);
/// The path of the module, or of one that holds it, ends in a name of modules_to_save. As in PEFT no dot is asked for
/// there: "norm" means input_layernorm too.
bool is_saved_whole(const AdapterConfig& config, const std::string& module);

}  // namespace dstrain
