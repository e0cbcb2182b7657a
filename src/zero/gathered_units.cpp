// SPDX-License-Identifier: Apache-2.0
#include "zero/gathered_units.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include "core/error.hpp"

namespace dstrain {

namespace {

#ifdef DSTRAIN_CHECKED
/// Whoever still reads released weights gets a loss of NaN instead of a silently wrong one.
void poison(const View& v) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  if (v.dtype == DType::f32) {
    std::fill_n(v.as<float>(), v.count, nan);
  } else {
    std::fill_n(v.as<bfloat16>(), v.count, bfloat16(nan));
  }
}
#endif

}  // namespace

GatheredUnits::GatheredUnits(const ZeroMemory& memory, Communicator& comm, Timeline& timeline)
    : memory_(memory), comm_(comm), timeline_(timeline), region_of_(static_cast<std::size_t>(memory.units()), -1) {
  for (const GatherRegion& region : memory.buffers().regions)
    regions_.push_back({memory.view(region.buffer), -1, timeline.event(), timeline.event()});
}

int GatheredUnits::free_region(int unit) const noexcept {
  const UnitPlace& place = memory_.unit(unit);
  for (int r = place.first_region; r < place.first_region + place.regions; ++r) {
    if (regions_[static_cast<std::size_t>(r)].unit < 0) return r;
  }
  return -1;
}

void GatheredUnits::gather(int unit, int index) {
  Region& region = regions_[static_cast<std::size_t>(index)];
  const ZeroBuffers& buffers = memory_.buffers();
  // From host memory this rank's slice goes to its place in the region first, and from there to the others.
  const bool from_host = buffers.scheme.host_weights;
  const bool travels = buffers.ranks > 1;
  region.free.make_wait(from_host ? timeline_.up() : timeline_.communication());
  std::array<AllGatherPart, part_kinds> parts;
  std::size_t used = 0;
  std::int64_t at = 0;
  const View memory = region.memory;
  for (int kind = 0; kind < part_kinds; ++kind) {
    const PartPlace& part = memory_.unit(unit).weights[kind];
    const std::int64_t count = part.slices.padded;
    if (count == 0 || part.whole) continue;
    View shard = memory_.weight_shard(unit, kind);
    const View full = memory.slice(at, count);
    if (from_host) {
      const View place = full.slice(memory_.rank() * shard.count, shard.count);
      copy_bytes(timeline_.up(), place.data, shard.data, shard.bytes());
      shard = place;
    }
    parts[used++] = {shard, full};
    at += count;
  }
  if (from_host && travels) timeline_.order(timeline_.up(), timeline_.communication());
  if (used > 0 && travels)
    comm_.all_gather(std::span(parts.data(), used), timeline_.communication(), "weights of a unit");
  region.ready.record(travels ? timeline_.communication() : timeline_.up());
  region.unit = unit;
  region_of_[static_cast<std::size_t>(unit)] = index;
}

void GatheredUnits::fetch(int unit, const std::vector<int>& holds, const Stream& stream) {
  if (const int standing = region_of_[static_cast<std::size_t>(unit)]; standing >= 0) {
    regions_[static_cast<std::size_t>(standing)].ready.make_wait(stream);
    return;
  }
  int region = free_region(unit);
  const UnitPlace& place = memory_.unit(unit);
  for (int r = place.first_region; region < 0 && r < place.first_region + place.regions; ++r) {
    const int other = regions_[static_cast<std::size_t>(r)].unit;
    if (holds[static_cast<std::size_t>(other)] > 0) continue;
    forget(other);
    region = r;
  }
  DSTRAIN_CHECK(region >= 0, "unit {} is acquired while the {} region(s) it may use are held", unit, place.regions);
  gather(unit, region);
  regions_[static_cast<std::size_t>(region)].ready.make_wait(stream);
}

void GatheredUnits::prefetch(int unit) {
  if (region_of_[static_cast<std::size_t>(unit)] >= 0) return;
  const int region = free_region(unit);
  if (region >= 0) gather(unit, region);
}

void GatheredUnits::drop(int unit, const Stream& stream) {
  const int region = region_of_[static_cast<std::size_t>(unit)];
  if (region >= 0) regions_[static_cast<std::size_t>(region)].free.record(stream);
  forget(unit);
}

void GatheredUnits::forget(int unit) {
  const int region = region_of_[static_cast<std::size_t>(unit)];
  if (region < 0) return;
#ifdef DSTRAIN_CHECKED
  if (!timeline_.compute().on_device()) poison(regions_[static_cast<std::size_t>(region)].memory);
#endif
  regions_[static_cast<std::size_t>(region)].unit = -1;
  region_of_[static_cast<std::size_t>(unit)] = -1;
}

ConstData GatheredUnits::part(int unit, int kind) const {
  const PartPlace* parts = memory_.unit(unit).weights;
  if (parts[kind].whole) {
    const View whole = memory_.full_weights(unit, kind);
    return {whole.data, whole.dtype};
  }
  const View memory = regions_[static_cast<std::size_t>(region_of_[static_cast<std::size_t>(unit)])].memory;
  const std::int64_t at = kind == 0 || parts[0].whole ? 0 : parts[0].slices.padded;
  return ConstData(Data{memory.data, memory.dtype}.at(at));
}

}  // namespace dstrain
