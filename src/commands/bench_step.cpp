// SPDX-License-Identifier: Apache-2.0
/// `dstrain bench collectives|step`: what needs several ranks.
#include <cmath>
#include <numeric>

#include "commands/bench_parts.hpp"
#include "core/device_runtime.hpp"
#include "core/parallel.hpp"
#include "core/rng.hpp"
#include "dstrain/engine.hpp"
#include "model/layout.hpp"
#include "model/model_spec.hpp"

namespace dstrain::commands {

BenchLines bench_collectives(Communicator& comm, const BenchOptions& o) {
  const Stream stream(o.device, nullptr);
  const int ranks = comm.size();
  BenchLines lines;
  for (std::int64_t count = std::int64_t{1} << 14; count <= std::int64_t{1} << 24; count *= 8) {
    BenchMemory memory(stream);
    const std::int64_t shard = count / ranks / 64 * 64 + 64;
    const View full(memory.random(shard * ranks, DType::f32).data, shard * ranks, DType::f32);
    const View part(memory.random(shard, DType::f32).data, shard, DType::f32);
    // nccl-tests: a ring moves (n - 1) / n of the full buffer in each of the two.
    const double bus = static_cast<double>(full.bytes()) * (ranks - 1) / ranks;
    const auto add = [&](const char* name, const auto& call) {
      comm.barrier("bench");
      lines.push_back(measure(fmt::format("{} of {} f32", name, full.count), o.repeats, stream, call));
      lines.back().moved_bytes = bus;
      lines.back().note = "busbw";
    };
    add("all_gather", [&] { comm.all_gather(part, full, stream, "bench"); });
    add("reduce_scatter", [&] { comm.reduce_scatter(full, part, stream, "bench"); });
  }
  return lines;
}

namespace {

/// Rows of random ids as one micro-batch.
struct Rows {
  std::vector<std::int32_t> ids, positions, targets, cu;
  std::vector<float> weights;

  Rows(std::int64_t tokens, std::int64_t vocabulary, int rank, int ranks)
      : ids(static_cast<std::size_t>(tokens)),
        positions(ids.size()),
        targets(ids.size(), -1),
        weights(ids.size(), 0.0F) {
    const Rng rng(11, RngSite::synthetic_data, 0, static_cast<std::uint32_t>(rank));
    for (std::size_t i = 0; i < ids.size(); ++i)
      ids[i] = static_cast<std::int32_t>(rng.bits(i) % static_cast<std::uint32_t>(vocabulary));
    std::iota(positions.begin(), positions.end(), 0);
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      targets[i] = ids[i + 1];
      weights[i] = 1.0F / (static_cast<float>(tokens - 1) * static_cast<float>(ranks));
    }
    cu = {0, static_cast<std::int32_t>(tokens)};
  }
  [[nodiscard]] MicroBatch batch() const {
    const auto tokens = static_cast<std::int64_t>(ids.size());
    return {.tokens = tokens,
            .padded_tokens = tokens,
            .input_ids = ids,
            .position_ids = positions,
            .cu_seqlens = cu,
            .targets = targets,
            .weights = weights,
            .max_seqlen = cu[1],
            .padded_len = cu[1],
            .rows = 1};
  }
};

}  // namespace

BenchLines bench_step(Communicator& comm, const BenchOptions& o) {
  const ModelSpec spec = preset_spec(o.model);
  const std::int64_t tokens = token_class(o.tokens);
  EngineOptions options;
  options.device = o.device;
  options.dtype = o.dtype;
  options.zero_stage = o.zero_stage;
  options.max_tokens = tokens;
  options.max_position = tokens;
  options.threads = max_threads();
  options.token_classes = {tokens};
  if (o.lora) {
    options.tuning.kind = TuningKind::lora;
    options.tuning.adapter.target_modules = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                             "gate_proj", "up_proj", "down_proj"};
  }
  const auto engine = Engine::initialize(comm, spec, options, {});
  const Rows rows(tokens, spec.vocab_size, comm.rank(), comm.size());
  const Stream stream(o.device, nullptr);
  double loss = 0.0;
  auto line = measure(fmt::format("{} {}, {} tokens per rank, {} rank(s), stage {}", o.model, o.lora ? "LoRA" : "full",
                                  tokens, comm.size(), o.zero_stage),
                      o.repeats, stream, [&] {
                        engine->begin_step();
                        engine->forward(rows.batch(), comm.size(), true);
                        engine->backward();
                        loss = engine->step(1e-5).loss;
                      });
  if (!std::isfinite(loss)) throw Error(fmt::format("the loss is {}", loss));
  // What a step needs: 6 per weight and token, 4 where weights are frozen (no gradient of them), without recomputation.
  double weights = 0.0;
  for (const auto& tensor : engine->layout().tensors)
    weights += tensor.shape.size() == 2 && tensor.unit > 0 ? static_cast<double>(tensor.count) : 0.0;
  if (spec.tie_word_embeddings) weights += static_cast<double>(spec.vocab_size * spec.hidden_size);
  const double all_tokens = static_cast<double>(tokens) * comm.size();
  line.flops = (o.lora ? 4.0 : 6.0) * weights * all_tokens;
  line.note = fmt::format("{:.1f} tokens/s, {}N, matrix peak {:.2f} TFLOP/s a rank, {:.1f} % of it",
                          all_tokens / line.median_s, o.lora ? 4 : 6, engine->matrix_peak() * 1e-12,
                          100.0 * line.flops / line.median_s / (engine->matrix_peak() * comm.size()));
  return {line};
}

}  // namespace dstrain::commands
