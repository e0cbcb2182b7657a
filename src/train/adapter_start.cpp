// SPDX-License-Identifier: Apache-2.0
#include "train/adapter_start.hpp"

#include <algorithm>
#include <vector>

#include "core/host_mirror.hpp"
#include "kernels/ops/adapter.hpp"
#include "kernels/ops/elementwise.hpp"
#include "model/adapters/pissa.hpp"

namespace dstrain {

namespace {

const TensorLayout& tensor_of(const ModelLayout& layout, std::int32_t index) {
  return layout.tensors[static_cast<std::size_t>(index)];
}

/// Calls visit(slice) for every range of `tensor` that this rank keeps.
template <typename Visit>
void for_each_owned(const ZeroStore& store, std::int32_t tensor, const Visit& visit) {
  for (const OwnedSlice& slice : store.owned()) {
    if (slice.tensor == tensor) visit(slice);
  }
}

void put(const ZeroStore& store, std::int32_t tensor, const std::vector<float>& values) {
  for_each_owned(store, tensor, [&](const OwnedSlice& slice) {
    HostMirror mirror(store.stream());
    const Data to = slice.values();
    const Data copy{mirror.fill(to.data, slice.count * static_cast<std::int64_t>(size_of(to.dtype))), to.dtype};
    ops::convert(Exec{}, copy, ConstData(values.data() + slice.begin, DType::f32), slice.count);
    mirror.store();
  });
}

/// W -= s B A on the elements of this rank.
void take_out(const ZeroStore& store, const AdapterLayout& adapter, const PissaFactors& factors) {
  const std::int64_t width = adapter.transposed ? adapter.out : adapter.in;
  for_each_owned(store, adapter.weight, [&](const OwnedSlice& slice) {
    HostMirror mirror(store.stream());
    Data values = slice.values();
    values.data = mirror.fetch(values.data, slice.count * static_cast<std::int64_t>(size_of(values.dtype)));
    for (std::int64_t i = 0; i < slice.count; ++i) {
      const std::int64_t line = (slice.begin + i) / width;
      const std::int64_t place = (slice.begin + i) % width;
      const std::int64_t row = adapter.transposed ? place : line;
      const std::int64_t column = adapter.transposed ? line : place;
      float sum = 0.0F;
      for (std::int64_t r = 0; r < adapter.rank; ++r)
        sum += factors.b[static_cast<std::size_t>(row * adapter.rank + r)] *
               factors.a[static_cast<std::size_t>(r * adapter.in + column)];
      const float taken = adapter.scale * sum;
      if (values.dtype == DType::f32) {
        values.as<float>()[i] -= taken;
      } else if (values.dtype == DType::bf16) {
        values.as<bfloat16>()[i] = bfloat16(static_cast<float>(values.as<bfloat16>()[i]) - taken);
      } else {
        values.as<float16>()[i] = float16(static_cast<float>(values.as<float16>()[i]) - taken);
      }
    }
    mirror.store();
  });
}

/// The factors, made by `maker` and told to all.
PissaFactors shared_factors(Communicator& comm, int maker, const TensorLayout& weight, const AdapterLayout& adapter,
                            const UnitWeights& weights, const Stream& stream, std::int64_t iterations,
                            std::uint64_t seed) {
  const std::int64_t out = adapter.out;
  const std::int64_t in = adapter.in;
  PissaFactors factors;
  if (comm.rank() == maker) {
    std::vector<float> w(static_cast<std::size_t>(weight.count));
    HostMirror mirror(stream);
    ConstData stored = weights.of(weight);
    stored.data = mirror.fetch(stored.data, weight.count * static_cast<std::int64_t>(size_of(stored.dtype)));
    ops::convert(Exec{}, Data{w.data(), DType::f32}, stored, weight.count);
    if (adapter.transposed) w = transposed(w, in, out);
    factors = pissa_factors(w, out, in, adapter.rank, adapter.scale, iterations, seed);
  }
  factors.a.resize(static_cast<std::size_t>(adapter.rank * in));
  factors.b.resize(static_cast<std::size_t>(out * adapter.rank));
  return factors;
}

}  // namespace

void start_from_pissa(Communicator& comm, const ModelLayout& layout, const AdapterConfig& config, ZeroStore& store,
                      std::uint64_t seed) {
  const Stream stream;
  const std::int64_t iterations = config.pissa_iterations();
  for (int unit = 0; unit < layout.unit_count(); ++unit) {
    std::vector<const AdapterLayout*> adapters;
    for (const AdapterLayout& adapter : layout.adapters) {
      // PEFT starts adapters of look-ups as ever.
      if (tensor_of(layout, adapter.weight).unit == unit && !adapter.lookup) adapters.push_back(&adapter);
    }
    if (adapters.empty()) continue;
    std::vector<PissaFactors> factors(adapters.size());
    const UnitWeights weights = store.acquire(unit, stream);
    const auto maker = [&](std::size_t i) { return static_cast<int>(i) % comm.size(); };
    on_all_ranks(comm, "PiSSA", [&] {
      for (std::size_t i = 0; i < adapters.size(); ++i) {
        const TensorLayout& weight = tensor_of(layout, adapters[i]->weight);
        factors[i] = shared_factors(comm, maker(i), weight, *adapters[i], weights, store.stream(), iterations,
                                    seed + static_cast<std::uint64_t>(weight.index));
      }
    });
    store.release(unit, stream);
    for (std::size_t i = 0; i < adapters.size(); ++i) {
      comm.broadcast(View(std::span(factors[i].a)), maker(i), stream, "PiSSA: A");
      comm.broadcast(View(std::span(factors[i].b)), maker(i), stream, "PiSSA: B");
      put(store, adapters[i]->a, factors[i].a);
      put(store, adapters[i]->b, factors[i].b);
      take_out(store, *adapters[i], factors[i]);
    }
  }
}

void start_magnitudes(const ModelLayout& layout, ZeroStore& store) {
  const Stream stream;
  std::vector<float> norms;
  for (int unit = 0; unit < layout.unit_count(); ++unit) {
    const auto& adapters = layout.adapters;
    const auto in_unit = [&](const AdapterLayout& a) {
      return a.magnitude >= 0 && tensor_of(layout, a.weight).unit == unit;
    };
    if (std::none_of(adapters.begin(), adapters.end(), in_unit)) continue;
    const UnitWeights weights = store.acquire(unit, stream);
    for (const AdapterLayout& adapter : adapters) {
      if (!in_unit(adapter)) continue;
      const TensorLayout& weight = tensor_of(layout, adapter.weight);
      norms.resize(static_cast<std::size_t>(adapter.out));
      HostMirror mirror(store.stream());
      const auto on_host = [&](const TensorLayout& tensor) {
        ConstData stored = weights.of(tensor);
        stored.data = mirror.fetch(stored.data, tensor.count * static_cast<std::int64_t>(size_of(stored.dtype)));
        return stored;
      };
      ops::updated_row_norms(Exec{}, norms.data(), on_host(weight), on_host(tensor_of(layout, adapter.a)),
                             on_host(tensor_of(layout, adapter.b)), adapter.scale, adapter.out, adapter.in,
                             adapter.rank, adapter.transposed);
      put(store, adapter.magnitude, norms);
    }
    store.release(unit, stream);
  }
}

}  // namespace dstrain
