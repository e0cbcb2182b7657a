// SPDX-License-Identifier: Apache-2.0
#include "model/adapters/adapter_plan.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "model/adapters/adapter_names.hpp"
#include "model/block.hpp"
#include "model/embedding.hpp"
#include "model/head.hpp"

namespace dstrain {

namespace {

/// Calls visit(linear, is_head) for every layer with adapters and lookup(table) for every such table, in order.
template <typename Visit, typename Lookup>
void for_each_adapted(const ModelSpec& spec, const ModelLayout& layout, const Visit& visit, const Lookup& lookup) {
  if (layout.adapters.empty()) return;
  const Embedding embedding(spec, layout);
  for (const LookupLora* table : embedding.adapters()) {
    if (!table->empty()) lookup(*table);
  }
  for (std::int64_t layer = 0; layer < spec.num_hidden_layers; ++layer) {
    const Block block(spec, layout, layer);
    for (const Linear* linear : block.linears()) {
      if (!linear->lora.empty()) visit(*linear, false);
    }
  }
  const Head head(spec, layout);
  if (!head.matrix().lora.empty()) visit(head.matrix(), true);
}

bool same(const Product& a, const Product& b) {
  const MatmulShape& s = a.shape;
  const MatmulShape& t = b.shape;
  return s.M == t.M && s.N == t.N && s.K == t.K && s.transpose_a == t.transpose_a && s.transpose_b == t.transpose_b &&
         s.lda == t.lda && s.ldb == t.ldb && s.ldc == t.ldc && a.a_b == b.a_b && a.c == b.c &&
         a.accumulate == b.accumulate;
}

}  // namespace

AdapterBuffers plan_adapters(MemoryPlan& plan, const ModelSpec& spec, const ModelLayout& layout,
                             const DecoderOptions& options, std::uint32_t phases, const char* category) {
  AdapterBuffers b;
  b.adapters = layout.adapters.size();
  if (b.adapters == 0) return b;
  AdapterSizes sizes;
  for_each_adapted(
      spec, layout, [&](const Linear& linear, bool) { linear.lora.measure(sizes, options.dtype != DType::f32); },
      [&](const LookupLora& table) { table.measure(sizes); });
  const std::int64_t T = forward_tokens(options);
  const auto add = [&](const char* name, std::int64_t count, DType dtype) {
    return plan.add(fmt::format("{}/{}", category, name), count, dtype, phases);
  };
  b.rows = add("rows", T * sizes.rows, options.dtype);
  b.gradients = add("row_gradients", options.train ? options.max_tokens * sizes.rows : 0, options.dtype);
  b.input = add("dropped_input", options.train ? options.max_tokens * sizes.input : 0, options.dtype);
  b.update = add("update", T * sizes.update, DType::f32);
  b.scaled = add("scaled_gradient", options.train ? options.max_tokens * sizes.scaled : 0, options.dtype);
  b.factors = plan.add(fmt::format("{}/dora_factors", category), 3 * sizes.columns, DType::f32);  // kept over steps
  b.columns = sizes.columns;
  return b;
}

std::vector<Product> adapter_products(const ModelSpec& spec, const ModelLayout& layout, DType dtype, std::int64_t T,
                                      bool train) {
  std::vector<Product> products;
  const DecoderSizes sizes(spec);
  const auto append = [&](const std::vector<AdapterProduct>& list) {
    for (const AdapterProduct& p : list) {
      const Product product{p.shape, dtype, p.f32_output ? DType::f32 : dtype, p.accumulate};
      if (product.accumulate && product.c != DType::f32) continue;
      const auto equal = [&](const Product& other) { return same(other, product); };
      if (std::none_of(products.begin(), products.end(), equal)) products.push_back(product);
    }
  };
  const auto of_layer = [&](const Linear& linear, bool is_head) {
    std::vector<AdapterProduct> list;
    if (is_head) {
      for (const std::int64_t rows : {std::min(sizes.chunk_rows, T), T % sizes.chunk_rows}) {
        if (rows > 0) linear.lora.products(list, rows, true, train);
      }
    } else {
      linear.lora.products(list, T, false, train);
    }
    append(list);
  };
  for_each_adapted(spec, layout, of_layer, [&](const LookupLora& table) {
    std::vector<AdapterProduct> list;
    table.products(list, T, train);
    append(list);
  });
  return products;
}

AdapterPass make_adapter_pass(const AdapterBuffers& b, const Arena& arena, DType dtype, std::uint64_t seed) {
  AdapterPass pass;
  pass.seed = seed;
  if (b.adapters == 0) return pass;
  const auto data = [&](BufferId id, DType type) { return Data{arena[id].data, type}; };
  pass.rows_TR = data(b.rows, dtype);
  pass.gradients_TR = data(b.gradients, dtype);
  pass.input = data(b.input, dtype);
  pass.update = data(b.update, DType::f32);
  pass.scaled = data(b.scaled, dtype);
  pass.factors = arena[b.factors].as<float>();
  pass.shifted = pass.factors + b.columns;
  pass.inverse_norms = pass.shifted + b.columns;
  pass.versions.assign(b.adapters, 0);
  return pass;
}

bool trains_matrices(const ModelLayout& layout) {
  return std::any_of(layout.tensors.begin(), layout.tensors.end(), [](const TensorLayout& tensor) {
    return tensor.part == PartKind::trainable && tensor.shape.size() == 2 && !is_adapter_tensor(tensor.name);
  });
}

int first_trainable_unit(const ModelLayout& layout) {
  const auto at = std::find_if(layout.units.begin(), layout.units.end(), [](const UnitLayout& unit) {
    return unit.parts[static_cast<int>(PartKind::trainable)].count > 0;
  });
  return static_cast<int>(at - layout.units.begin());
}

}  // namespace dstrain
