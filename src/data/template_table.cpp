// SPDX-License-Identifier: Apache-2.0
/// The table of chat templates: its rows stand in data/templates.
#include <algorithm>
#include <array>
#include <iterator>
#include <numeric>

#include "core/error.hpp"
#include "data/template_spec.hpp"
#include "data/templates/rows.hpp"

namespace dstrain {
namespace {

/// Names that a template had in earlier versions.
constexpr std::array<std::pair<std::string_view, std::string_view>, 2> former_names = {
    {{"chatglm3_system", "chatglm3"}, {"vanilla", "empty"}}};

/// Edit distance of two names (Levenshtein), for hints.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

std::string nearest_names(std::string_view name) {
  std::vector<std::pair<std::size_t, std::string_view>> names;
  for (const auto& spec : template_table()) names.emplace_back(distance(name, spec.name), spec.name);
  std::sort(names.begin(), names.end());
  names.resize(std::min<std::size_t>(3, names.size()));
  std::string out = "the nearest names are";
  for (const auto& [unused, near] : names) out += fmt::format("{} {}", &near == &names.front().second ? "" : ",", near);
  return out + "; `empty` trains on the text as it is";
}

std::vector<TemplateSpec> joined_rows() {
  std::vector<TemplateSpec> all;
  for (const auto rows : {templates::chatml_rows, templates::llama_rows, templates::glm_rows,
                          templates::other_rows_a_to_h, templates::other_rows_i_to_z}) {
    auto part = rows();
    std::move(part.begin(), part.end(), std::back_inserter(all));
  }
  std::sort(all.begin(), all.end(), [](const TemplateSpec& a, const TemplateSpec& b) { return a.name < b.name; });
  return all;
}

}  // namespace

std::span<const TemplateSpec> template_table() {
  static const std::vector<TemplateSpec> table = joined_rows();
  return table;
}

const TemplateSpec& find_template(std::string_view name) {
  const auto former =
      std::find_if(former_names.begin(), former_names.end(), [&](const auto& pair) { return pair.first == name; });
  const std::string_view today = former == former_names.end() ? name : former->second;
  const auto table = template_table();
  const auto it = std::find_if(table.begin(), table.end(), [&](const auto& spec) { return spec.name == today; });
  if (it == table.end())
    throw ConfigError(fmt::format("Template {} does not exist.", name), "template", nearest_names(name));
  return *it;
}

}  // namespace dstrain
