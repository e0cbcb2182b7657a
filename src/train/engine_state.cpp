// SPDX-License-Identifier: Apache-2.0
#include "train/engine_state.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "core/error.hpp"
#include "core/log.hpp"
#include "io/checkpoint/read.hpp"
#include "io/checkpoint/write.hpp"
#include "io/safetensors/model.hpp"
#include "io/safetensors/writer.hpp"
#include "io/weights/stream.hpp"
#include "model/initialise.hpp"

namespace dstrain {

namespace {

std::vector<TensorInfo> tensor_list(const ModelLayout& layout) {
  std::vector<TensorInfo> tensors;
  tensors.reserve(layout.tensors.size());
  for (const auto& tensor : layout.tensors) tensors.push_back({tensor.name, tensor.shape});
  return tensors;
}

/// Who owns what, over all ranks, in tensor order: the list that streaming walks. Where every rank keeps everything
/// (stage 0), each range stands once, for every rank.
std::vector<WeightSlice> all_slices(const Communicator& comm, const ModelLayout& layout, const ZeroStore& store) {
  std::vector<WeightSlice> slices;
  std::int64_t total = 0;
  for (int rank = 0; rank < comm.size(); ++rank) {
    for (const auto& s : store.owned_by(rank)) {
      slices.push_back({s.tensor, s.begin, s.count, rank, nullptr});
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
    slice.data = at->master;
  }
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
  range.master = at->master + offset;
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

void read_states(CheckpointReader& reader, std::int32_t tensor, const OwnedSlice& slice, std::span<float> staging,
                 const std::filesystem::path& checkpoint) {
  for (const StateSlice& state : slice.states) {
    if (state.spec.name == nullptr) continue;
    const CheckpointKind kind = checkpoint_kind(state.spec.name);
    if (!reader.has(kind, tensor)) {
      throw IoError(fmt::format("the checkpoint holds no {} of {}", state.spec.name,
                                reader.tensors()[static_cast<std::size_t>(tensor)].name),
                    checkpoint.string(),
                    "it was saved with save_only_model or with another optimizer; give its folder as "
                    "model_name_or_path to start from its weights");
    }
    reader.read(kind, tensor, state.begin, state.count, state.data, staging);
  }
}

}  // namespace

void initialise_weights(const ModelLayout& layout, const ModelSpec& spec, const ZeroStore& store, std::uint64_t seed) {
  for (const auto& slice : store.owned()) {
    fill_initial(spec, layout.tensors[static_cast<std::size_t>(slice.tensor)], slice.begin, slice.count, slice.master,
                 seed);
  }
}

void stream_in_weights(Communicator& comm, const ModelLayout& layout, const ZeroStore& store,
                       const std::filesystem::path& folder, std::span<float> staging) {
  const auto tensors = tensor_list(layout);
  std::optional<SafetensorsModel> source;
  on_all_ranks(comm, "open the weights", [&] {
    if (comm.rank() != 0) return;
    source = SafetensorsModel::open(folder);
    for (const auto& name : unused_tensors(*source, tensors)) {
      if (!name.ends_with("rotary_emb.inv_freq") && name != "lm_head.weight")
        log::warning("{} holds an unused tensor: {}", source->where(), name);
    }
  });
  const auto slices = all_slices(comm, layout, store);
  stream_weights(comm, source ? &*source : nullptr, tensors, slices, staging);
}

void stream_out_weights(Communicator& comm, const ModelLayout& layout, const ZeroStore& store,
                        const std::filesystem::path& folder, DType dtype, std::span<float> staging) {
  const auto tensors = tensor_list(layout);
  std::unique_ptr<SafetensorsModelWriter> sink;
  on_all_ranks(comm, "create the model folder", [&] {
    if (comm.rank() == 0) sink = std::make_unique<SafetensorsModelWriter>(folder, tensors, dtype);
  });
  const auto slices = all_slices(comm, layout, store);
  collect_weights(comm, sink.get(), tensors, slices, staging);
}

void save_state(Communicator& comm, const ModelLayout& layout, const ZeroStore& store,
                const std::filesystem::path& output_dir, std::int64_t step,
                const std::map<std::string, std::string>& client_state, bool save_only_model, int save_total_limit,
                const std::filesystem::path& best) {
  CheckpointContent content;
  content.tensors = tensor_list(layout);
  content.metadata = client_state;
  for (const auto& range : store.written_by(comm.rank())) {
    const auto slice = inside_owned(store, range);
    content[CheckpointKind::parameter].push_back({slice.tensor, slice.begin, slice.count, slice.master});
    if (save_only_model) continue;
    for (const StateSlice& state : slice.states) {
      if (state.spec.name == nullptr || !writes(slice, state)) continue;
      content[checkpoint_kind(state.spec.name)].push_back({slice.tensor, state.begin, state.count, state.data});
    }
  }
  CheckpointOptions options;
  if (save_total_limit > 0) options.save_total_limit = save_total_limit;
  options.best = best;
  write_checkpoint(comm, output_dir, step, content, options);
}

LoadedState load_state(Communicator& comm, const ModelLayout& layout, const ZeroStore& store,
                       const std::filesystem::path& checkpoint, std::span<float> staging, bool weights_only) {
  auto reader = CheckpointReader::open(comm, checkpoint);
  on_all_ranks(comm, "read the checkpoint", [&] {
    std::vector<std::int32_t> index(layout.tensors.size());
    for (std::size_t i = 0; i < index.size(); ++i) {
      const auto& tensor = layout.tensors[i];
      index[i] = reader.find(tensor.name);
      if (index[i] < 0 || reader.tensors()[static_cast<std::size_t>(index[i])].shape != tensor.shape) {
        throw IoError(fmt::format("the checkpoint has no {} of shape {}", tensor.name, shape_text(tensor.shape)),
                      checkpoint.string(), "it is of another model");
      }
    }
    for (const auto& slice : store.owned()) {
      const auto tensor = index[static_cast<std::size_t>(slice.tensor)];
      reader.read(CheckpointKind::parameter, tensor, slice.begin, slice.count, slice.master, staging);
      if (!weights_only) read_states(reader, tensor, slice, staging, checkpoint);
    }
  });
  return {reader.step(), reader.metadata()};
}

}  // namespace dstrain
