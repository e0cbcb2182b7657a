// SPDX-License-Identifier: Apache-2.0
#include "train/engine_state.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "core/error.hpp"
#include "core/host_mirror.hpp"
#include "core/log.hpp"
#include "io/checkpoint/read.hpp"
#include "io/checkpoint/read_ranges.hpp"
#include "io/safetensors/writer.hpp"
#include "io/weights/open.hpp"
#include "io/weights/stream.hpp"
#include "kernels/ops/elementwise.hpp"
#include "model/adapters/adapter_names.hpp"
#include "model/initialise.hpp"
#include "train/adapter_files.hpp"

namespace dstrain {

namespace {

/// Some tensors of a layout as a list of their own, and where each stands in it.
struct TensorList {
  std::vector<TensorInfo> tensors;
  std::vector<std::int32_t> place;  ///< by index in the layout; -1: not in the list
};

template <typename Wanted>
TensorList tensor_list(const ModelLayout& layout, const Wanted& wanted) {
  TensorList list;
  for (const auto& tensor : layout.tensors) {
    list.place.push_back(wanted(tensor) ? static_cast<std::int32_t>(list.tensors.size()) : -1);
    if (list.place.back() >= 0) list.tensors.push_back({tensor.name, tensor.shape});
  }
  return list;
}

/// The f32 values of a trained range for a checkpoint. Where there are no masters the gradients' memory takes them: it
/// is free between two steps, and such a checkpoint is written before the next one.
float* values_f32(const ZeroStore& store, const OwnedSlice& range, bool widen) {
  if (range.master != nullptr) return range.master;
  if (widen) ops::convert(Exec{store.stream()}, Data{range.gradient, DType::f32}, range.weights, range.count);
  return range.gradient;
}

bool is_adapter(const TensorLayout& tensor) { return is_adapter_tensor(tensor.name); }
bool is_trained(const TensorLayout& tensor) { return tensor.part == PartKind::trainable; }
bool is_any(const TensorLayout& /*tensor*/) { return true; }

/// Who owns what, over all ranks, in tensor order: the list that streaming walks. Where every rank keeps everything
/// (stage 0), each range stands once, for every rank.
/// Tensors that are not in `list` are left out, the others go by their place in it.
std::vector<WeightSlice> all_slices(const Communicator& comm, const ModelLayout& layout, const ZeroStore& store,
                                    const TensorList& list) {
  std::vector<WeightSlice> slices;
  std::int64_t total = 0;
  const DType narrow = store.weight_dtype();  // frozen weights have no f32 masters
  const DType trained = store.trained_dtype();
  for (int rank = 0; rank < comm.size(); ++rank) {
    for (const auto& s : store.owned_by(rank)) {
      const bool frozen = !is_trained(layout.tensors[static_cast<std::size_t>(s.tensor)]);
      slices.push_back({s.tensor, s.begin, s.count, rank, nullptr, frozen ? narrow : trained});
      total += s.count;
    }
  }
  const auto& mine = store.owned();
  const bool replicated = total != layout.parameters;
  if (replicated) slices.resize(mine.size());
  for (auto& slice : slices) {
    if (replicated) slice.owner = every_rank;
    if (!replicated && slice.owner != comm.rank()) continue;
    const auto at = std::find_if(mine.begin(), mine.end(), [&](const OwnedSlice& s) {
      return s.tensor == slice.tensor && s.begin == slice.begin;
    });
    DSTRAIN_CHECK(at != mine.end(), "a slice of this rank is not in owned()");
    slice.data = at->values().data;
  }
  std::erase_if(slices, [&](const WeightSlice& s) { return list.place[static_cast<std::size_t>(s.tensor)] < 0; });
  for (auto& slice : slices) slice.tensor = list.place[static_cast<std::size_t>(slice.tensor)];
  std::stable_sort(slices.begin(), slices.end(), [](const WeightSlice& a, const WeightSlice& b) {
    return a.tensor != b.tensor ? a.tensor < b.tensor : a.begin < b.begin;
  });
  return slices;
}

/// The state of a range that lies inside one of this rank's owned() ranges.
OwnedSlice inside_owned(const ZeroStore& store, OwnedSlice range) {
  const auto& mine = store.owned();
  const auto at = std::find_if(mine.begin(), mine.end(), [&](const OwnedSlice& s) {
    return s.tensor == range.tensor && s.begin <= range.begin && range.begin + range.count <= s.begin + s.count;
  });
  DSTRAIN_CHECK(at != mine.end(), "a slice to write is not in owned()");
  const std::int64_t offset = range.begin - at->begin;
  if (at->master != nullptr) range.master = at->master + offset;
  if (at->gradient != nullptr) range.gradient = at->gradient + offset;
  range.weights = at->weights.at(offset);
  for (std::size_t i = 0; i < range.states.size(); ++i) {
    StateSlice& state = range.states[i];
    if (state.spec.name == nullptr) continue;
    const auto bytes = static_cast<std::int64_t>(size_of(state.spec.dtype));
    state.data = static_cast<char*>(at->states[i].data) + (state.begin - at->states[i].begin) * bytes;
  }
  return range;
}

/// Whether the range that holds `state` is the one that writes it: what several ranks keep whole is written once.
bool writes(const OwnedSlice& range, const StateSlice& state) {
  const bool whole = state.spec.extent == StateExtent::row || state.spec.extent == StateExtent::column;
  return !whole || range.begin == 0;
}

std::int64_t bytes_of(const WeightSlice& slice) {
  return slice.count * static_cast<std::int64_t>(size_of(slice.dtype));
}

/// The slices of this rank with their values where host code can read them.
void fetch(HostMirror& mirror, std::vector<WeightSlice>& slices) {
  for (auto& slice : slices) slice.data = mirror.fetch(slice.data, bytes_of(slice));
}

/// stream_weights into the memory of a device: some slices at a time, by way of host memory.
void stream_by_host(Communicator& comm, const WeightSource* source, std::span<const TensorInfo> tensors,
                    std::span<WeightSlice> slices, const Stream& stream, std::span<float> staging) {
  constexpr std::int64_t most_bytes = std::int64_t{1} << 30;
  for (std::size_t first = 0; first < slices.size();) {
    HostMirror mirror(stream);
    std::size_t last = first;
    // The same cut on every rank: all count all slices.
    for (std::int64_t bytes = 0; last < slices.size() && (last == first || bytes < most_bytes); ++last) {
      bytes += bytes_of(slices[last]);
      slices[last].data = mirror.fill(slices[last].data, bytes_of(slices[last]));
    }
    stream_weights(comm, source, tensors, slices.subspan(first, last - first), staging);
    mirror.store();
    first = last;
  }
}

/// Adds the optimizer states of a slice to what is read.
void want_states(const CheckpointReader& reader, std::int32_t tensor, const OwnedSlice& slice, HostMirror& mirror,
                 std::vector<WantedRange>& wanted) {
  for (const StateSlice& state : slice.states) {
    if (state.spec.name == nullptr) continue;
    const CheckpointKind kind = checkpoint_kind(state.spec.name);
    if (!reader.has(kind, tensor)) {
      throw IoError(fmt::format("the checkpoint holds no {} of {}", state.spec.name,
                                reader.tensors()[static_cast<std::size_t>(tensor)].name),
                    reader.folder().string(),
                    "it was saved with save_only_model or with another optimizer; give its folder as "
                    "model_name_or_path to start from its weights");
    }
    const std::int64_t bytes = state.count * static_cast<std::int64_t>(size_of(state.spec.dtype));
    wanted.push_back({kind, tensor, state.begin, state.count, mirror.fill(state.data, bytes)});
  }
}

void warn_about_unused(const WeightSource& source, std::span<const TensorInfo> wanted) {
  std::vector<std::string> unused = unused_tensors(source, wanted);
  std::erase_if(unused, [](const auto& name) { return is_computed_buffer(name) || name == "lm_head.weight"; });
  if (unused.size() == 1) log::warning("{} holds an unused tensor: {}", source.where(), unused.front());
  if (unused.size() > 1) {
    log::warning("{} holds {} tensors that the model does not use, e.g. {}", source.where(), unused.size(),
                 unused.front());
  }
}

}  // namespace

std::string base_prefix_of(const ModelLayout& layout) {
  const std::string& name = layout.tensors.front().name;
  return name.substr(0, name.find('.') + 1);
}

void initialise_weights(const ModelLayout& layout, const ModelSpec& spec, const ZeroStore& store, std::uint64_t seed,
                        bool adapters_only, bool tied, std::span<float> staging) {
  const auto piece = static_cast<std::int64_t>(staging.size());
  const Stream stream = store.stream();
  for (const auto& slice : store.owned()) {
    const TensorLayout* tensor = &layout.tensors[static_cast<std::size_t>(slice.tensor)];
    if (adapters_only && !is_adapter(*tensor)) continue;
    const bool head = tensor->unit + 1 == layout.unit_count() && tensor->shape.size() == 2 && !is_adapter(*tensor);
    if (tied && head) tensor = &layout.tensors.front();
    if (slice.master != nullptr && !stream.on_device()) {
      fill_initial(spec, *tensor, slice.begin, slice.count, slice.master, seed);
      continue;
    }
    for (std::int64_t done = 0; done < slice.count; done += piece) {
      const std::int64_t n = std::min(piece, slice.count - done);
      fill_initial(spec, *tensor, slice.begin + done, n, staging.data(), seed);
      ops::convert(Exec{stream}, slice.values().at(done), ConstData(staging.data(), DType::f32), n);
      stream.synchronize();  // the staging memory is filled again
    }
  }
}

void stream_in_weights(Communicator& comm, const ModelLayout& layout, const ZeroStore& store,
                       const WeightSource* source, bool adapters, std::span<float> staging) {
  const auto list = adapters ? tensor_list(layout, is_trained)
                             : tensor_list(layout, [](const TensorLayout& tensor) { return !is_adapter(tensor); });
  auto slices = all_slices(comm, layout, store, list);
  if (store.stream().on_device()) {  // either says first what is missing
    stream_by_host(comm, source, list.tensors, slices, store.stream(), staging);
  } else {
    stream_weights(comm, source, list.tensors, slices, staging);
  }
  if (comm.rank() == 0) warn_about_unused(*source, list.tensors);
}

void stream_in_weights(Communicator& comm, const ModelLayout& layout, const ZeroStore& store,
                       const std::filesystem::path& folder, std::span<float> staging) {
  std::unique_ptr<WeightSource> source;
  on_all_ranks(comm, "open the weights", [&] {
    if (comm.rank() == 0) source = open_weights(folder, base_prefix_of(layout));
  });
  stream_in_weights(comm, layout, store, source.get(), false, staging);
}

void stream_out_weights(Communicator& comm, const ModelLayout& layout, const ZeroStore& store,
                        const std::filesystem::path& folder, DType dtype, std::span<float> staging) {
  const auto list = tensor_list(layout, is_any);
  std::unique_ptr<SafetensorsModelWriter> sink;
  on_all_ranks(comm, "create the model folder", [&] {
    if (comm.rank() == 0) sink = std::make_unique<SafetensorsModelWriter>(folder, list.tensors, dtype);
  });
  auto slices = all_slices(comm, layout, store, list);
  HostMirror mirror(store.stream());
  fetch(mirror, slices);
  collect_weights(comm, sink.get(), list.tensors, slices, staging);
}

void stream_out_adapter(Communicator& comm, const ModelLayout& layout, const ZeroStore& store,
                        const std::filesystem::path& folder, const AdapterConfig& config, Durability durability,
                        std::span<float> staging) {
  const auto list = tensor_list(layout, is_trained);
  std::unique_ptr<AdapterWriter> sink;
  on_all_ranks(comm, "create the adapter folder", [&] {
    if (comm.rank() == 0) sink = std::make_unique<AdapterWriter>(folder, config, list.tensors, durability);
  });
  auto slices = all_slices(comm, layout, store, list);
  HostMirror mirror(store.stream());
  fetch(mirror, slices);
  collect_weights(comm, sink.get(), list.tensors, slices, staging);
}

CheckpointContent checkpoint_content(const Communicator& comm, const ModelLayout& layout, const ZeroStore& store,
                                     bool save_only_model, HostMirror& mirror) {
  CheckpointContent content;
  const auto list = tensor_list(layout, is_trained);
  content.tensors = list.tensors;
  for (const auto& range : store.written_by(comm.rank())) {
    const std::int32_t place = list.place[static_cast<std::size_t>(range.tensor)];
    if (place < 0) continue;
    const auto slice = inside_owned(store, range);
    content[CheckpointKind::parameter].push_back(
        {place, slice.begin, slice.count, mirror.fetch(values_f32(store, slice, true), 4 * slice.count)});
    if (save_only_model) continue;
    for (const StateSlice& state : slice.states) {
      if (state.spec.name == nullptr || !writes(slice, state)) continue;
      const std::int64_t bytes = state.count * static_cast<std::int64_t>(size_of(state.spec.dtype));
      content[checkpoint_kind(state.spec.name)].push_back(
          {place, state.begin, state.count, mirror.fetch(state.data, bytes)});
    }
  }
  return content;
}

LoadedState load_state(Communicator& comm, const ModelLayout& layout, const ZeroStore& store,
                       const std::filesystem::path& checkpoint, std::span<float> staging, bool weights_only) {
  auto reader = CheckpointReader::open(comm, checkpoint);
  std::vector<WantedRange> wanted;
  HostMirror mirror(store.stream());
  on_all_ranks(comm, "compare the checkpoint with the model", [&] {
    std::vector<std::int32_t> index(layout.tensors.size());
    for (std::size_t i = 0; i < index.size(); ++i) {
      const auto& tensor = layout.tensors[i];
      if (!is_trained(tensor)) continue;
      index[i] = reader.find(tensor.name);
      if (index[i] < 0 || reader.tensors()[static_cast<std::size_t>(index[i])].shape != tensor.shape) {
        throw IoError(fmt::format("the checkpoint has no {} of shape {}", tensor.name, shape_text(tensor.shape)),
                      checkpoint.string(), "it is of another model, or of another choice of what is trained");
      }
    }
    for (const auto& slice : store.owned()) {
      if (!is_trained(layout.tensors[static_cast<std::size_t>(slice.tensor)])) continue;
      const auto tensor = index[static_cast<std::size_t>(slice.tensor)];
      wanted.push_back({CheckpointKind::parameter, tensor, slice.begin, slice.count,
                        mirror.fill(values_f32(store, slice, false), 4 * slice.count)});
      if (!weights_only) want_states(reader, tensor, slice, mirror, wanted);
    }
  });
  read_ranges(comm, reader, wanted, staging);
  mirror.store();
  for (const auto& slice : store.owned()) {
    if (slice.master == nullptr && is_trained(layout.tensors[static_cast<std::size_t>(slice.tensor)]))
      ops::convert(Exec{store.stream()}, slice.weights, Data{slice.gradient, DType::f32}, slice.count);
  }
  return {reader.step(), reader.metadata()};
}

}  // namespace dstrain
