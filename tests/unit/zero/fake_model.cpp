// SPDX-License-Identifier: Apache-2.0
#include "unit/zero/fake_model.hpp"

#include <algorithm>
#include <string>

#include "core/error.hpp"

namespace dstrain::test {

std::uint32_t mixed_bits(std::uint64_t a, std::uint64_t b, std::uint64_t c) {
  std::uint64_t x = a * 0x9e3779b97f4a7c15ULL + b * 0xbf58476d1ce4e5b9ULL + c * 0x94d049bb133111ebULL;
  x ^= x >> 31;
  x *= 0xd6e8feb86659fd93ULL;
  return static_cast<std::uint32_t>(x >> 32);
}

namespace {

float read(const UnitWeights& weights, const TensorLayout& tensor, std::int64_t i) {
  const ConstData data = weights.of(tensor);
  if (data.dtype == DType::f16) return static_cast<float>(data.as<float16>()[i]);
  return data.dtype == DType::f32 ? data.as<float>()[i] : static_cast<float>(data.as<bfloat16>()[i]);
}

/// Writes or adds a unit's gradient from one site, as a weight-gradient kernel would.
void contribute(ZeroStore& store, const ModelLayout& layout, int unit, const UnitWeights& weights,
                const GradientRule& rule, std::int64_t slot, int site) {
  const Stream stream;
  const UnitGradient gradient = store.gradient(unit, stream);
  if (slot < 0) return;
  for (const std::int32_t index : layout.units[static_cast<std::size_t>(unit)].tensors) {
    const TensorLayout& tensor = layout.tensors[static_cast<std::size_t>(index)];
    if (tensor.part == PartKind::frozen) continue;
    float* out = gradient.of(tensor);
    for (std::int64_t i = 0; i < tensor.count; ++i) {
      const float g = rule(slot, site, index, i, read(weights, tensor, i));
      out[i] = gradient.accumulate ? out[i] + g : g;
    }
  }
}

void forward(ZeroStore& store, const ModelLayout& layout, bool tied, const GradientRule& rule, std::int64_t slot) {
  const Stream stream;
  const int last = layout.unit_count() - 1;
  for (int u = 0; u < last; ++u) {
    (void)store.acquire(u, stream);
    store.prefetch(u + 1, stream);
    store.release(u, stream);
  }
  const UnitWeights head = store.acquire(last, stream);
  if (tied) {
    const UnitWeights embedding = store.acquire(0, stream);
    contribute(store, layout, 0, embedding, rule, slot, 1);
    store.release(0, stream);
  }
  contribute(store, layout, last, head, rule, slot, 0);
  store.gradient_ready(last, stream);
  store.release(last, stream);
}

void backward(ZeroStore& store, const ModelLayout& layout, const GradientRule& rule, std::int64_t slot) {
  const Stream stream;
  for (int u = layout.unit_count() - 2; u >= 0; --u) {
    const UnitWeights weights = store.acquire(u, stream);
    if (u > 0) store.prefetch(u - 1, stream);
    contribute(store, layout, u, weights, rule, slot, 0);
    store.gradient_ready(u, stream);
    store.release(u, stream);
  }
}

}  // namespace

ModelLayout fake_layout(const FakeShape& s) {
  ModelLayout layout;
  append_tensor(layout, 0, "embed", {s.vocabulary, s.hidden});
  for (int b = 1; b <= s.blocks; ++b) {
    const std::string prefix = "block." + std::to_string(b) + ".";
    append_tensor(layout, b, prefix + "norm", {s.hidden});
    append_tensor(layout, b, prefix + "q", {s.hidden, s.hidden});
    append_tensor(layout, b, prefix + "k", {s.hidden / 2, s.hidden}, true);
    append_tensor(layout, b, prefix + "down", {s.hidden, 2 * s.hidden + b});
    if (s.frozen) append_tensor(layout, b, prefix + "base", {s.hidden + 1, s.hidden}, false, PartKind::frozen);
  }
  append_tensor(layout, s.blocks + 1, "norm", {s.hidden});
  if (!s.tied) append_tensor(layout, s.blocks + 1, "lm_head", {s.vocabulary, s.hidden});
  finish_layout(layout);
  return layout;
}

float exact_gradient(std::int64_t slot, int site, std::int32_t tensor, std::int64_t i, float /*weight*/) {
  const auto key = static_cast<std::uint64_t>(slot * 2 + site);
  return static_cast<float>(mixed_bits(key, static_cast<std::uint64_t>(tensor), static_cast<std::uint64_t>(i)) % 9) -
         4.0F;
}

float rounding_gradient(std::int64_t slot, int site, std::int32_t tensor, std::int64_t i, float weight) {
  const auto key = static_cast<std::uint64_t>(slot * 2 + site);
  const std::uint32_t bits = mixed_bits(key, static_cast<std::uint64_t>(tensor), static_cast<std::uint64_t>(i));
  // Magnitudes over ten powers of two, so that the sum rounds at every addition.
  const float scale = 1.0F / static_cast<float>(1U << (bits % 10));
  return (static_cast<float>(bits >> 8) / 16777216.0F - 0.5F) * scale + 0.37F * weight;
}

void run_micro_step(ZeroStore& store, const ModelLayout& layout, bool tied, const GradientRule& rule,
                    std::int64_t slot) {
  forward(store, layout, tied, rule, slot);
  backward(store, layout, rule, slot);
}

StoreUnderTest make_store(const ModelLayout& layout, const ZeroOptions& options, Communicator& comm) {
  StoreUnderTest out;
  MemoryPlan plan;
  out.buffers = plan_zero(plan, layout, options, comm.size());
  plan.finalize();
  out.arena =
      std::make_unique<Arena>(std::move(plan), [&](std::int64_t bytes) { return comm.allocate_registered(bytes); });
  out.store = make_zero_store(layout, options, comm, *out.arena, out.buffers, Device{});
  return out;
}

float initial_weight(std::int32_t tensor, std::int64_t i) {
  const std::uint32_t bits = mixed_bits(977, static_cast<std::uint64_t>(tensor), static_cast<std::uint64_t>(i));
  return static_cast<float>(bits >> 8) / 16777216.0F - 0.5F;
}

void fill_weights(ZeroStore& store) {
  for (const OwnedSlice& slice : store.owned()) {
    for (std::int64_t i = 0; i < slice.count; ++i) {
      const float value = initial_weight(slice.tensor, slice.begin + i);
      if (slice.master != nullptr) {
        slice.master[i] = value;
      } else {
        slice.weights.as<bfloat16>()[i] = bfloat16(value);
      }
    }
  }
  store.weights_changed();
}

StepParameters adamw_parameters(std::int64_t step, double norm) {
  return {.lr = 1e-2, .step = step, .gradient_scale = std::min(1.0, 10.0 / (norm + 1e-6))};
}

std::vector<TensorRates> alternating_decay(const ModelLayout& layout) {
  std::vector<TensorRates> rates(layout.tensors.size());
  for (std::size_t i = 0; i < rates.size(); i += 2) rates[i].weight_decay = 0.1;
  return rates;
}

std::vector<double> train(ZeroStore& store, const ModelLayout& layout, const FakeShape& shape, const GradientRule& rule,
                          Communicator& comm, int steps, std::int64_t slots) {
  std::vector<double> norms;
  const std::int64_t ranks = comm.size();
  for (int step = 1; step <= steps; ++step) {
    store.begin_step();
    for (std::int64_t first = 0; first < slots; first += ranks) {
      const std::int64_t contributors = std::min(ranks, slots - first);
      store.begin_micro_step(static_cast<int>(contributors), first + ranks >= slots);
      const bool has_slot = comm.rank() < contributors;
      run_micro_step(store, layout, shape.tied, rule, has_slot ? step * 1000 + first + comm.rank() : -1);
    }
    norms.push_back(store.reduce_gradients());
    store.optimizer_step(adamw_parameters(step, norms.back()), alternating_decay(layout));
  }
  return norms;
}

}  // namespace dstrain::test
