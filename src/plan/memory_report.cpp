// SPDX-License-Identifier: Apache-2.0
#include "plan/memory_report.hpp"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "core/system_memory.hpp"

namespace dstrain {

namespace {

std::string phases_text(std::uint32_t phases) {
  if (phases == phase_always) return "always";
  std::string text;
  const auto add = [&](Phase phase, const char* name) {
    if ((phases & phase) != 0) text += (text.empty() ? "" : "+") + std::string(name);
  };
  add(phase_load, "load");
  add(phase_forward, "forward");
  add(phase_backward, "backward");
  add(phase_optimizer, "optimizer");
  add(phase_save, "save");
  add(phase_generate, "generate");
  return text;
}

const char* kind_text(MemoryKind kind) {
  switch (kind) {
    case MemoryKind::host:
      return "host";
    case MemoryKind::registered:
      return "registered";
    case MemoryKind::pinned:
      return "pinned";
    case MemoryKind::device:
      return "device";
  }
  return "?";
}

std::int64_t arena_bytes(const std::vector<const MemoryPlan*>& plans) {
  std::int64_t bytes = 0;
  for (const auto* plan : plans) {
    for (int kind = 0; kind < memory_kinds; ++kind) bytes += plan->arena_bytes(static_cast<MemoryKind>(kind));
  }
  return bytes;
}

std::string category_of(const std::string& name) { return name.substr(0, name.find('/')); }

}  // namespace

std::string memory_table(const std::vector<const MemoryPlan*>& plans, const PlanFacts& facts) {
  std::string text =
      fmt::format("model {}: {} parameters; ZeRO stage {}, {}, gradient checkpointing {}\n", facts.model,
                  facts.parameters, facts.zero_stage, facts.dtype, facts.gradient_checkpointing ? "on" : "off");
  text += fmt::format("{} ranks, {} per node; up to {} tokens in a micro-batch (from {})\n\n", facts.ranks,
                      facts.ranks_per_node, facts.max_tokens, facts.max_tokens_from);
  text += fmt::format("{:<36} {:>14} {:>6}  {:<11} {}\n", "buffer (each rank)", "bytes", "dtype", "kind", "lives in");
  std::map<std::string, std::int64_t> sums;
  std::int64_t listed = 0;
  for (const auto* plan : plans) {
    for (const auto& buffer : plan->buffers()) {
      if (buffer.bytes() == 0) continue;
      text += fmt::format("{:<36} {:>14} {:>6}  {:<11} {}\n", buffer.name, buffer.bytes(), name_of(buffer.dtype),
                          kind_text(buffer.kind), phases_text(buffer.phases));
      sums[category_of(buffer.name)] += buffer.bytes();
      listed += buffer.bytes();
    }
  }
  text += "\n";
  for (const auto& [category, bytes] : sums)
    text += fmt::format("{:<36} {:>14}  {:>10}\n", category, bytes, format_bytes(bytes));
  const std::int64_t arena = arena_bytes(plans);
  text += fmt::format("{:<36} {:>14}  {:>10}\n", "shared between phases, alignment", arena - listed,
                      format_bytes(arena - listed));
  text += fmt::format("{:<36} {:>14}  {:>10}\n", "planned (allocated exactly)", arena, format_bytes(arena));
  text += fmt::format("{:<36} {:>14}  {:>10}\n", "runtime floor", facts.runtime_floor_bytes,
                      format_bytes(facts.runtime_floor_bytes));
  const std::int64_t total = arena + facts.runtime_floor_bytes;
  text += fmt::format("{:<36} {:>14}  {:>10}\n", "each rank", total, format_bytes(total));
  text += fmt::format("{:<36} {:>14}  {:>10}\n", fmt::format("each node ({} ranks)", facts.ranks_per_node),
                      total * facts.ranks_per_node, format_bytes(total * facts.ranks_per_node));
  return text;
}

std::string memory_json(const std::vector<const MemoryPlan*>& plans, const PlanFacts& facts) {
  nlohmann::ordered_json json;
  json["model"] = facts.model;
  json["parameters"] = facts.parameters;
  json["ranks"] = facts.ranks;
  json["ranks_per_node"] = facts.ranks_per_node;
  json["zero_stage"] = facts.zero_stage;
  json["dtype"] = facts.dtype;
  json["gradient_checkpointing"] = facts.gradient_checkpointing;
  json["max_tokens"] = facts.max_tokens;
  json["max_tokens_from"] = facts.max_tokens_from;
  const std::int64_t arena = arena_bytes(plans);
  json["arena_bytes"] = arena;
  json["runtime_floor_bytes"] = facts.runtime_floor_bytes;
  json["total_bytes"] = arena + facts.runtime_floor_bytes;
  auto& buffers = json["buffers"] = nlohmann::ordered_json::array();
  for (const auto* plan : plans) {
    for (const auto& buffer : plan->buffers()) {
      buffers.push_back({{"name", buffer.name},
                         {"bytes", buffer.bytes()},
                         {"dtype", name_of(buffer.dtype)},
                         {"kind", kind_text(buffer.kind)},
                         {"phases", phases_text(buffer.phases)},
                         {"offset", buffer.offset}});
    }
  }
  return json.dump(2);
}

}  // namespace dstrain
