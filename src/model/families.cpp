// SPDX-License-Identifier: Apache-2.0
/// The tensors of a model under their Hugging Face names, and where each lies.
#include <fmt/core.h>

#include <string>
#include <utility>

#include "model/families/family.hpp"
#include "model/model_spec.hpp"

namespace dstrain {

namespace {

/// Appends the tensors of one unit; names are those of the family's table.
class UnitWriter {
 public:
  UnitWriter(ModelLayout& layout, const ModelSpec& spec, int unit, std::string prefix)
      : layout_(layout), spec_(spec), unit_(unit), prefix_(std::move(prefix)) {}

  void add(const char* module, const char* tensor, std::vector<std::int64_t> shape, bool adjacent = false) {
    append_tensor(layout_, unit_, fmt::format("{}{}.{}", prefix_, module, tensor), std::move(shape), adjacent);
  }

  /// A table of rows, or a matrix as the head has it.
  void table(const char* module, std::int64_t rows, std::int64_t width) { add(module, "weight", {rows, width}); }

  void matrix(const char* module, std::int64_t out, std::int64_t in, bool adjacent = false) {
    add(module, "weight", spec_.transposed_weights ? std::vector{in, out} : std::vector{out, in}, adjacent);
    layout_.tensors.back().transposed = spec_.transposed_weights;
  }

  /// Modules of `rows` outputs each that are one product; the names behind the first may be missing: fused on disk too.
  template <std::size_t n>
  void group(const std::array<const char*, n>& modules, const std::array<std::int64_t, n>& rows, std::int64_t in) {
    std::int64_t all = 0;
    for (const std::int64_t r : rows) all += r;
    if (modules[1] == nullptr) return matrix(modules[0], all, in);
    for (std::size_t i = 0; i < n; ++i) matrix(modules[i], rows[i], in, i > 0);
  }

  template <std::size_t n>
  void group_biases(const std::array<const char*, n>& modules, const std::array<std::int64_t, n>& rows) {
    std::int64_t all = 0;
    for (const std::int64_t r : rows) all += r;
    if (modules[1] == nullptr) return add(modules[0], "bias", {all});
    for (std::size_t i = 0; i < n; ++i) add(modules[i], "bias", {rows[i]}, i > 0);
  }

  void norm(const char* module, std::int64_t width) {
    if (module == nullptr) return;
    add(module, "weight", {width});
    if (spec_.norm == NormKind::layer) add(module, "bias", {width});
  }

  /// A weight for each dim of a head; these norms have no bias in any family.
  void head_norm(const char* module) {
    if (module != nullptr) add(module, "weight", {spec_.head_dim});
  }

 private:
  ModelLayout& layout_;
  const ModelSpec& spec_;
  int unit_;
  std::string prefix_;
};

/// Norm weights lie behind the matrices so that the gaps of alignment stay few; fused groups are adjacent.
void append_block(ModelLayout& layout, const ModelSpec& s, std::int64_t block) {
  const FamilyNames& names = s.family->names;
  UnitWriter unit(layout, s, static_cast<int>(block) + 1, fmt::format("{}{}.", names.block, block));
  const std::int64_t q = s.num_attention_heads * s.head_dim;
  const std::int64_t kv = s.num_key_value_heads * s.head_dim;
  const std::array<std::int64_t, 3> qkv = {q, kv, kv};
  const std::array<std::int64_t, 2> gate_up = {s.gated ? s.intermediate_size : 0, s.intermediate_size};
  unit.group(names.qkv, qkv, s.hidden_size);
  unit.matrix(names.o, s.hidden_size, q);
  unit.group(names.gate_up, gate_up, s.hidden_size);
  unit.matrix(names.down, s.hidden_size, s.intermediate_size);
  unit.norm(names.input_norm, s.hidden_size);
  unit.norm(names.middle_norm, s.hidden_size);
  unit.norm(names.attention_norm, s.hidden_size);
  unit.norm(names.feed_forward_norm, s.hidden_size);
  unit.head_norm(names.q_norm);
  unit.head_norm(names.k_norm);
  if (s.qkv_bias) unit.group_biases(names.qkv, qkv);
  if (s.o_bias) unit.add(names.o, "bias", {s.hidden_size});
  if (s.mlp_bias) {
    unit.group_biases(names.gate_up, gate_up);
    unit.add(names.down, "bias", {s.hidden_size});
  }
}

}  // namespace

ModelLayout make_layout(const ModelSpec& spec) {
  const FamilyNames& names = spec.family->names;
  ModelLayout layout;
  UnitWriter first(layout, spec, 0, "");
  first.table(names.embedding, spec.vocab_size, spec.hidden_size);
  if (spec.positions == PositionKind::learned)
    first.table(names.positions, spec.max_position_embeddings, spec.hidden_size);
  first.norm(names.embedding_norm, spec.hidden_size);
  for (std::int64_t block = 0; block < spec.num_hidden_layers; ++block) append_block(layout, spec, block);
  UnitWriter last(layout, spec, static_cast<int>(spec.num_hidden_layers) + 1, "");
  if (spec.final_norm) last.norm(names.final_norm, spec.hidden_size);
  if (!spec.tie_word_embeddings) last.table(names.head, spec.vocab_size, spec.hidden_size);
  finish_layout(layout);
  return layout;
}

double flops_per_token(const ModelSpec& spec, const ModelLayout& layout, std::int64_t seq_len) {
  // A look-up costs no products: the embedding counts only where it is the head's matrix too.
  const double embedding = static_cast<double>(spec.vocab_size) * static_cast<double>(spec.hidden_size);
  const double in_products = static_cast<double>(layout.parameters) - (spec.tie_word_embeddings ? 0.0 : embedding);
  const auto attention_width = static_cast<double>(spec.num_attention_heads * spec.head_dim);
  return 6.0 * in_products +
         12.0 * static_cast<double>(spec.num_hidden_layers) * attention_width * static_cast<double>(seq_len);
}

}  // namespace dstrain
