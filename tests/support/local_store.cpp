// SPDX-License-Identifier: Apache-2.0
#include "support/local_store.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/error.hpp"

namespace dstrain::test {

LocalParameterStore::LocalParameterStore(const ModelLayout& layout, DType dtype)
    : layout_(layout), dtype_(dtype), units_(layout.units.size()) {
  for (std::size_t u = 0; u < units_.size(); ++u) {
    for (int kind = 0; kind < part_kinds; ++kind) {
      units_[u].weights[kind].resize(static_cast<std::size_t>(layout.units[u].parts[kind].padded()) * size_of(dtype));
    }
    units_[u].gradient.assign(static_cast<std::size_t>(layout.units[u].parts[0].padded()),
                              std::numeric_limits<float>::quiet_NaN());
  }
}

LocalParameterStore::Unit& LocalParameterStore::unit_at(int unit) { return units_.at(static_cast<std::size_t>(unit)); }

UnitWeights LocalParameterStore::acquire(int unit, const Stream& /*stream*/) {
  calls_.push_back(fmt::format("acquire {}", unit));
  Unit& u = unit_at(unit);
  ++u.holds;
  UnitWeights weights;
  for (int kind = 0; kind < part_kinds; ++kind) {
    const auto& bytes = u.weights[kind];
    weights.parts[static_cast<std::size_t>(kind)] = ConstData(bytes.empty() ? nullptr : bytes.data(), dtype_);
  }
  return weights;
}

void LocalParameterStore::prefetch(int unit, const Stream& /*stream*/) {
  (void)unit_at(unit);
  calls_.push_back(fmt::format("prefetch {}", unit));
}

void LocalParameterStore::release(int unit, const Stream& /*stream*/) {
  calls_.push_back(fmt::format("release {}", unit));
  DSTRAIN_CHECK(unit_at(unit).holds > 0, "unit {} is not held", unit);
  --unit_at(unit).holds;
}

UnitGradient LocalParameterStore::gradient(int unit, const Stream& /*stream*/) {
  calls_.push_back(fmt::format("gradient {}", unit));
  Unit& u = unit_at(unit);
  DSTRAIN_CHECK(!u.ready, "the gradient of unit {} was declared complete in this micro step", unit);
  const bool add = accumulate_ || u.open;
  u.open = true;
  return {u.gradient.data(), add};
}

void LocalParameterStore::gradient_ready(int unit, const Stream& /*stream*/) {
  calls_.push_back(fmt::format("ready {}", unit));
  Unit& u = unit_at(unit);
  DSTRAIN_CHECK(u.open && !u.ready, "the gradient of unit {} is not open", unit);
  u.ready = true;
}

void LocalParameterStore::fill(const std::function<void(const TensorLayout& tensor, float* out)>& value) {
  for (const TensorLayout& tensor : layout_.tensors) {
    std::vector<float> values(static_cast<std::size_t>(tensor.count));
    value(tensor, values.data());
    char* bytes = unit_at(tensor.unit).weights[static_cast<int>(tensor.part)].data();
    if (dtype_ == DType::f32) {
      std::memcpy(bytes + tensor.offset * 4, values.data(), values.size() * 4);
    } else {
      auto* narrow = reinterpret_cast<bfloat16*>(bytes) + tensor.offset;
      std::transform(values.begin(), values.end(), narrow, [](float v) { return bfloat16(v); });
    }
  }
}

void LocalParameterStore::begin_micro_step(bool accumulate) {
  accumulate_ = accumulate;
  for (Unit& u : units_) {
    u.open = u.ready = false;
    if (!accumulate) std::fill(u.gradient.begin(), u.gradient.end(), std::numeric_limits<float>::quiet_NaN());
  }
}

const float* LocalParameterStore::weights_of(const TensorLayout& tensor) const {
  DSTRAIN_CHECK(dtype_ == DType::f32, "weights of {} are asked for as f32", name_of(dtype_));
  const auto& unit = units_.at(static_cast<std::size_t>(tensor.unit));
  return reinterpret_cast<const float*>(unit.weights[static_cast<int>(tensor.part)].data()) + tensor.offset;
}

const float* LocalParameterStore::gradient_of(const TensorLayout& tensor) const {
  return units_.at(static_cast<std::size_t>(tensor.unit)).gradient.data() + tensor.offset;
}

bool LocalParameterStore::at_rest() const {
  return std::all_of(units_.begin(), units_.end(), [](const Unit& u) { return u.holds == 0 && u.open == u.ready; });
}

}  // namespace dstrain::test
