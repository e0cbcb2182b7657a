// SPDX-License-Identifier: Apache-2.0
#include "zero/zero_memory.hpp"

#include <utility>

#include "kernels/ops/elementwise.hpp"

namespace dstrain {

PartRange kept_range(const ZeroBuffers& buffers, const PartPlace& part, int rank) noexcept {
  if (!buffers.scheme.sharded_state) return {0, part.part.count};
  const std::int64_t begin = part.slices.begin(rank);
  return {begin, part.slices.end(rank) - begin};
}

ZeroMemory::ZeroMemory(std::shared_ptr<const ZeroBuffers> buffers, const Arena& arena, int rank)
    : buffers_(std::move(buffers)),
      arena_(arena),
      rank_(rank),
      weights_(view(buffers_->weights)),
      whole_(view(buffers_->whole)),
      master_(view(buffers_->master)),
      gradient_(view(buffers_->gradient)) {}

View ZeroMemory::full_weights(int unit, int kind) const {
  const PartPlace& part = this->unit(unit).weights[kind];
  return (part.whole ? whole_ : weights_).slice(part.full_at, part.slices.padded);
}

View ZeroMemory::weight_shard(int unit, int kind) const {
  const PartPlace& part = this->unit(unit).weights[kind];
  if (buffers_->scheme.sharded_weights && !part.whole) return weights_.slice(part.shard_at, part.slices.shard);
  return full_weights(unit, kind).slice(part.slices.shard * rank_, part.slices.shard);
}

Data ZeroMemory::kept_weights(int unit, int kind) const {
  const View v = buffers_->scheme.sharded_state ? weight_shard(unit, kind) : full_weights(unit, kind);
  return {v.data, v.dtype};
}

float* ZeroMemory::master(int unit, int kind) const {
  if (!buffers_->scheme.master_copy)
    return buffers_->options.compute == DType::f32 ? kept_weights(unit, kind).as<float>() : nullptr;
  return kind == static_cast<int>(PartKind::trainable) ? trainable_row(master_, unit) : nullptr;
}

float* ZeroMemory::trainable_row(View row, int unit) const {
  const UnitPlace& place = this->unit(unit);
  return row.as<float>() + (buffers_->scheme.sharded_state ? place.gradient_shard_at : place.gradient_full_at);
}

bool ZeroMemory::full_gradient_row() const noexcept {
  return !buffers_->scheme.reduce_each || !buffers_->scheme.sharded_state;
}

View ZeroMemory::full_gradient(int unit) const {
  const UnitPlace& place = this->unit(unit);
  return gradient_.slice(place.gradient_full_at, place.trainable().slices.padded);
}

View ZeroMemory::gradient_shard(int unit) const {
  const UnitPlace& place = this->unit(unit);
  const std::int64_t shard = place.trainable().slices.shard;
  return full_gradient_row() ? full_gradient(unit).slice(shard * rank_, shard)
                             : gradient_.slice(place.gradient_shard_at, shard);
}

float* ZeroMemory::kept_gradient(int unit) const {
  if (gradient_.data == nullptr) return nullptr;
  return (buffers_->scheme.sharded_state ? gradient_shard(unit) : full_gradient(unit)).as<float>();
}

void ZeroMemory::zero_state(const Exec& exec) const {
  const auto zero = [&](const View& v) {
    if (v.count > 0) ops::fill_zero(exec, {v.data, v.dtype}, v.count);
  };
  zero(weights_);
  zero(whole_);
  zero(master_);
  for (const StateRow& row : buffers_->state_rows) zero(view(row.buffer));
}

}  // namespace dstrain
