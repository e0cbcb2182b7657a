// SPDX-License-Identifier: Apache-2.0
#include "train/flops_profile.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace dstrain {
namespace {

/// A module and what it holds.
struct Node {
  std::string name;
  ModuleCost own;  ///< of the tensors that are its own
  std::vector<Node> children;

  Node& child(std::string_view name_) {
    const auto at = std::find_if(children.begin(), children.end(), [&](const Node& c) { return c.name == name_; });
    return at != children.end() ? *at : children.emplace_back(Node{std::string(name_), {}, {}});
  }
};

bool is_number(std::string_view word) { return word.find_first_not_of("0123456789") == std::string_view::npos; }

/// The node of the module at `path`; the numbers of layers are all "*".
Node& node_of(Node& root, std::string_view path) {
  Node* node = &root;
  while (!path.empty()) {
    const auto dot = std::min(path.find('.'), path.size());
    const auto word = path.substr(0, dot);
    node = &node->child(is_number(word) ? "*" : word);
    path.remove_prefix(std::min(dot + 1, path.size()));
  }
  return *node;
}

/// "a.b" of "a.b.c"; empty where there is no dot.
std::string_view parent_of(std::string_view path) {
  const auto dot = path.rfind('.');
  return dot == std::string_view::npos ? std::string_view() : path.substr(0, dot);
}

void flatten(const Node& node, const std::string& path, int depth, std::vector<ModuleCost>& out) {
  const std::size_t at = out.size();
  out.push_back(node.own);
  out[at].name = path.empty() ? "(model)" : path;
  out[at].depth = depth;
  for (const Node& child : node.children) {
    const std::size_t first = out.size();
    flatten(child, path.empty() ? child.name : path + "." + child.name, depth + 1, out);
    out[at].parameters += out[first].parameters;
    out[at].forward_flops += out[first].forward_flops;
    out[at].backward_flops += out[first].backward_flops;
  }
}

void add_products(Node& node, double forward, bool trained) {
  node.own.forward_flops += forward;
  node.own.backward_flops += forward * (trained ? 2.0 : 1.0);
}

std::string short_number(double x) {
  for (const auto& [least, letter] : {std::pair{1e15, 'P'}, {1e12, 'T'}, {1e9, 'G'}, {1e6, 'M'}, {1e3, 'K'}}) {
    if (x >= least) return fmt::format("{:.2f} {}", x / least, letter);
  }
  return fmt::format("{:.0f}", x);
}

double share(double part, double all) { return all > 0 ? 100.0 * part / all : 0.0; }

std::string rate(double flops, double seconds) {
  return seconds > 0 ? short_number(flops / seconds) + "FLOPS" : std::string("-");
}

}  // namespace

std::vector<ModuleCost> module_costs(const ModelSpec& spec, const ModelLayout& layout, const StepWork& work) {
  Node root;
  const auto tokens = static_cast<double>(work.tokens);
  const auto attention =
      4.0 * static_cast<double>(spec.num_attention_heads * spec.head_dim) * static_cast<double>(work.attention_pairs);
  std::int32_t attended = 0;  // the last unit whose attention was counted
  for (const TensorLayout& tensor : layout.tensors) {
    const auto path = parent_of(tensor.name);
    Node& node = node_of(root, path);
    node.own.parameters += tensor.count;
    const bool looked_up = tensor.unit == 0;
    if (tensor.shape.size() != 2 || looked_up) continue;
    add_products(node, 2.0 * static_cast<double>(tensor.count) * tokens, tensor.part == PartKind::trainable);
    const bool in_block = tensor.unit + 1 < layout.unit_count();
    if (in_block && tensor.unit > attended) {  // the first matrix of a block is one of attention's
      attended = tensor.unit;
      add_products(node_of(root, parent_of(path)), attention, true);
    }
  }
  if (spec.tie_word_embeddings) {
    const bool trained = !layout.tensors.empty() && layout.tensors.front().part == PartKind::trainable;
    add_products(node_of(root, "lm_head"), 2.0 * static_cast<double>(spec.vocab_size * spec.hidden_size) * tokens,
                 trained);
  }
  std::vector<ModuleCost> modules;
  flatten(root, "", 0, modules);
  return modules;
}

std::string flops_table(const std::vector<ModuleCost>& modules, const StepTimes& times, const StepWork& work,
                        const FlopsTableOptions& options) {
  const ModuleCost& all = modules.front();
  double again = 0.0;  // the head is not computed a second time
  for (const auto& m : modules) {
    if (options.recomputes && m.name.ends_with(".*")) again += m.forward_flops;
  }
  std::string text = fmt::format("FLOPs of step {}, rank 0:\n", options.step);
  const auto line = [&](std::string_view name, const std::string& value) {
    text += fmt::format("  {:<44} {}\n", name, value);
  };
  line("tokens",
       fmt::format("{} in {} micro-batch{}", work.tokens, work.micro_batches, work.micro_batches == 1 ? "" : "es"));
  line("parameters of the model", short_number(static_cast<double>(all.parameters)));
  line("forward FLOPs", short_number(all.forward_flops));
  line("forward latency", fmt::format("{:.2f} ms", times.of(StepPhase::forward) * 1e3));
  line("forward FLOPs per second", rate(all.forward_flops, times.of(StepPhase::forward)));
  line("backward FLOPs", short_number(all.backward_flops) +
                             (again > 0 ? " + " + short_number(again) + " of forward again (checkpointing)" : ""));
  line("backward latency", fmt::format("{:.2f} ms", times.of(StepPhase::backward) * 1e3));
  line("backward FLOPs per second", rate(all.backward_flops + again, times.of(StepPhase::backward)));
  line("optimizer latency", fmt::format("{:.2f} ms", times.of(StepPhase::optimizer) * 1e3));
  line("step latency",
       fmt::format("{:.2f} ms, {:.2f} of it communication", times.total() * 1e3, times.communication * 1e3));
  line("FLOPs per second of the step", rate(all.forward_flops + all.backward_flops + again, times.total()));
  if (times.total() > 0)
    line("tokens per second", fmt::format("{:.1f}", static_cast<double>(work.tokens) / times.total()));
  if (!options.detailed) return text;
  text += fmt::format("  {:<44} {:>10} {:>7} {:>14} {:>7}\n", "module (head's loss runs in forward)", "parameters", "%",
                      "forward FLOPs", "%");
  for (const auto& m : modules) {
    if (options.depth >= 0 && m.depth > options.depth) continue;
    text += fmt::format("  {:<44} {:>10} {:>6.2f}% {:>14} {:>6.2f}%\n",
                        std::string(static_cast<std::size_t>(2 * m.depth), ' ') + m.name,
                        short_number(static_cast<double>(m.parameters)),
                        share(static_cast<double>(m.parameters), static_cast<double>(all.parameters)),
                        short_number(m.forward_flops), share(m.forward_flops, all.forward_flops));
  }
  return text;
}

}  // namespace dstrain
