// SPDX-License-Identifier: Apache-2.0
/// Passes over prompt pieces and single tokens; the mathematics is the decoder's own (block.cpp, head.cpp).
#include "model/generator.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "core/error.hpp"
#include "core/parallel.hpp"
#include "core/rng.hpp"
#include "kernels/ops/elementwise.hpp"
#include "model/adapters/adapter_plan.hpp"
#include "model/block.hpp"
#include "model/embedding.hpp"
#include "model/generator_buffers.hpp"
#include "model/head.hpp"

namespace dstrain {

namespace {

/// Rows [row, row + count) of a pass: tokens of one sequence from position `start` on.
struct Piece {
  std::int64_t sequence;
  std::int64_t row;
  std::int64_t count;
  std::int64_t start;
};

struct Sequence {
  std::size_t prompt;                ///< number in the caller's list
  std::vector<std::int32_t> tokens;  ///< prompt and answer
  bool running = true;
};

}  // namespace

struct Generator::Impl {
  Impl(const ModelSpec& model, const ModelLayout& layout, const Arena& arena_in,
       std::shared_ptr<const GeneratorBuffers> buffers_in, Device device)
      : spec(model),
        sizes(spec),
        buffers(std::move(buffers_in)),
        options(buffers->options),
        arena(arena_in),
        exec{Stream(device, nullptr), arena[buffers->workspace].data, arena[buffers->workspace].count},
        rope(spec, arena[buffers->rope_cos].as<float>(), arena[buffers->rope_sin].as<float>(), options.max_length),
        embedding(spec, layout),
        head(spec, layout),
        adapters(make_adapter_pass(buffers->adapters, arena, options.dtype, 0)),
        ids(arena[buffers->ids].as<std::int32_t>(), static_cast<std::size_t>(options.prompt_rows)),
        positions(arena[buffers->positions].as<std::int32_t>(), static_cast<std::size_t>(options.prompt_rows)) {
    for (std::int64_t l = 0; l < sizes.layers; ++l) blocks.emplace_back(spec, layout, l);
  }

  UnitWeights acquire(ParameterStore& store, int unit) {
    UnitWeights weights = store.acquire(unit, exec.stream);
    weights.adapters = &adapters;
    return weights;
  }

  [[nodiscard]] Data data(BufferId id) const { return {arena[id].data, arena[id].dtype}; }
  [[nodiscard]] Data cache(std::int64_t layer, std::int64_t sequence, std::int64_t position) const {
    return data(buffers->cache)
        .at(((layer * options.max_sequences + sequence) * options.max_length + position) * 2 * sizes.KV);
  }
  [[nodiscard]] float* logits(std::int64_t sequence) const {
    return arena[buffers->logits].as<float>() + sequence * sizes.V;
  }

  void run(ParameterStore& store, std::span<const Piece> pieces, std::span<const Sequence> sequences, bool want_logits);
  void keep(Data to, ConstData qkv, std::int64_t rows) const;
  void attend(const Block& block, std::int64_t layer, std::span<const Piece> pieces, const BlockActivations& a) const;
  void head_pass(ParameterStore& store, std::span<const Piece> pieces, std::int64_t T, Data stream, bool want_logits);
  void head_logits(const HeadWeights& weights, std::span<const Piece> pieces, std::int64_t T, Data stream);
  void read_prompt(ParameterStore& store, std::span<const Sequence> sequences, std::int64_t sequence);
  bool extend(Sequence& sequence, std::int64_t slot, const SamplingOptions& sampling, Generated& answer,
              const OnToken& on_token) const;

  ModelSpec spec;
  DecoderSizes sizes;
  std::shared_ptr<const GeneratorBuffers> buffers;
  GeneratorOptions options;
  const Arena& arena;
  Exec exec;
  RopeTables rope;
  Embedding embedding;
  Head head;
  AdapterPass adapters;
  std::vector<Block> blocks;
  std::span<std::int32_t> ids, positions;  ///< of the pass at work
  AnyRank any_rank;                        ///< none: this rank goes its own way
};

/// Copies keys and values out of rows of q k v: in one piece, or from each group, where they lie side by side too.
void Generator::Impl::keep(Data to, ConstData qkv, std::int64_t rows) const {
  const std::int64_t width = sizes.qkv_width();
  if (sizes.group_stride == 0)
    return ops::copy_rows(exec, to, qkv.at(sizes.Q), rows, 2 * sizes.KV, 2 * sizes.KV, width);
  const std::int64_t pair = 2 * sizes.head_dim;
  for (std::int64_t head = 0; head < sizes.kv_heads; ++head) {
    ops::copy_rows(exec, to.at(head * pair), qkv.at(head * sizes.group_stride + sizes.k_at()), rows, pair, 2 * sizes.KV,
                   width);
  }
}

/// Keeps the new keys and values, then every sequence looks at all of its own.
void Generator::Impl::attend(const Block& block, std::int64_t layer, std::span<const Piece> pieces,
                             const BlockActivations& a) const {
  for (const Piece& p : pieces) {
    keep(cache(layer, p.sequence, p.start), a.qkv.at(p.row * sizes.qkv_width()), p.count);
    const std::array<std::int32_t, 2> queries = {0, static_cast<std::int32_t>(p.count)};
    const std::array<std::int32_t, 2> keys = {0, static_cast<std::int32_t>(p.start + p.count)};
    AttentionShape shape = block.attention_shape({.T = p.count, .tokens = p.count, .segments = 1});
    shape.cu_q = queries.data();
    shape.cu_k = keys.data();
    shape.max_seqlen = keys[1];
    shape.kv_stride = 2 * sizes.KV;
    const bool groups = sizes.group_stride > 0;
    if (groups) shape.kv_head_stride = 2 * sizes.head_dim;
    const Data k = cache(layer, p.sequence, 0);
    ops::attention_forward(exec, a.attention_TQ.at(p.row * sizes.Q), nullptr, a.qkv.at(p.row * sizes.qkv_width()), k,
                           k.at(groups ? sizes.head_dim : sizes.KV), shape);
  }
}

void Generator::Impl::head_logits(const HeadWeights& weights, std::span<const Piece> pieces, std::int64_t T,
                                  Data stream) {
  HeadBuffers b{data(buffers->normed), data(buffers->delta), arena[buffers->kept].as<float>(), nullptr, {}, nullptr};
  b.row_norms_V = arena[buffers->head_rows].as<float>();
  head.normalise(exec, weights, T, stream, data(buffers->delta), b);
  // Only the last row of a piece says what comes next. Single rows of sequences in order are one product.
  const bool one_product =
      std::all_of(pieces.begin(), pieces.end(), [&](const Piece& p) { return p.count == 1 && p.sequence == p.row; });
  if (one_product) {
    b.logits = logits(0);
    head.logits(exec, weights, 0, static_cast<std::int64_t>(pieces.size()), b);
    return;
  }
  for (const Piece& p : pieces) {
    b.logits = logits(p.sequence);
    head.logits(exec, weights, p.row + p.count - 1, 1, b);
  }
}

void Generator::Impl::head_pass(ParameterStore& store, std::span<const Piece> pieces, std::int64_t T, Data stream,
                                bool want_logits) {
  HeadWeights weights;
  weights.norm = acquire(store, head.unit());
  weights.matrix = head.tied() ? acquire(store, 0) : weights.norm;
  if (want_logits && !pieces.empty()) head_logits(weights, pieces, T, stream);
  if (head.tied()) store.release(0, exec.stream);
  store.release(head.unit(), exec.stream);
}

void Generator::Impl::run(ParameterStore& store, std::span<const Piece> pieces, std::span<const Sequence> sequences,
                          bool want_logits) {
  if (any_rank && !pieces.empty()) any_rank(true);
  exec.stream.synchronize();  // the pass before reads ids and positions
  const bool visit_head = want_logits || any_rank;
  std::int64_t tokens = 0;
  std::int64_t longest = 0;
  for (const Piece& p : pieces) {
    for (std::int64_t i = 0; i < p.count; ++i) {
      const auto row = static_cast<std::size_t>(p.row + i);
      ids[row] = sequences[static_cast<std::size_t>(p.sequence)].tokens[static_cast<std::size_t>(p.start + i)];
      positions[row] = static_cast<std::int32_t>(p.start + i);
    }
    tokens += p.count;
    longest = std::max(longest, p.start + p.count);
  }
  const std::int64_t T = generator_rows(tokens);
  std::fill(ids.begin() + tokens, ids.begin() + T, 0);
  std::fill(positions.begin() + tokens, positions.begin() + T, 0);
  rope.use(exec, longest);

  const Data residual = data(buffers->residual);
  float* kept = arena[buffers->kept].as<float>();
  BlockActivations a{};
  a.input_TD = a.middle_TD = residual;
  a.qkv = data(buffers->qkv);
  a.attention_TQ = data(buffers->attention);
  a.gate_up = data(buffers->gate_up);
  a.kept_input = a.kept_middle = a.kept_attention_added = a.kept_feed_forward_added = kept;
  a.rstd_heads = arena[buffers->rstd_heads].as<float>();
  a.attention_added_TD = a.feed_forward_added_TD = data(buffers->added);
  const BlockScratch s{data(buffers->normed), data(buffers->delta), data(buffers->hidden), {}, {}};
  if (tokens > 0) ops::fill_zero(exec, a.attention_TQ.at(tokens * sizes.Q), (T - tokens) * sizes.Q);
  UnitWeights weights = acquire(store, 0);
  store.prefetch(1, exec.stream);
  if (tokens > 0)
    embedding.forward(exec, weights, {T, tokens, ids.data(), positions.data(), {}}, residual, {{}, s.normed_TD, kept});
  store.release(0, exec.stream);
  for (std::int64_t layer = 0; layer < sizes.layers; ++layer) {
    const int unit = static_cast<int>(layer) + 1;
    weights = acquire(store, unit);
    if (visit_head || layer + 1 < sizes.layers) store.prefetch(unit + 1, exec.stream);
    if (tokens > 0) {
      const Block& block = blocks[static_cast<std::size_t>(layer)];
      const BlockRows rows{.T = T, .tokens = tokens, .positions_T = positions.data()};
      block.project(exec, weights, rows, rope, layer == 0 ? residual : block.stream(a, s),
                    layer == 0 ? Data{} : s.delta_TD, a, s);
      attend(block, layer, pieces, a);
      block.expand(exec, weights, rows, a, s);
      block.contract(exec, weights, rows, a, s);
    }
    store.release(unit, exec.stream);
  }
  if (visit_head) head_pass(store, pieces, T, blocks.back().stream(a, s), want_logits);
  if (want_logits) exec.stream.synchronize();  // the logits are read by the host
}

void Generator::Impl::read_prompt(ParameterStore& store, std::span<const Sequence> sequences, std::int64_t sequence) {
  const auto length = static_cast<std::int64_t>(sequences[static_cast<std::size_t>(sequence)].tokens.size());
  for (std::int64_t start = 0; start < length; start += options.prompt_rows) {
    const std::int64_t count = std::min(options.prompt_rows, length - start);
    const Piece piece{sequence, 0, count, start};
    run(store, std::span(&piece, 1), sequences, start + count == length);
  }
}

/// Chooses the next token from the sequence's logits. @return whether the sequence goes on
bool Generator::Impl::extend(Sequence& sequence, std::int64_t slot, const SamplingOptions& sampling, Generated& answer,
                             const OnToken& on_token) const {
  const Rng rng(sampling.seed, RngSite::sampling, 0,
                sampling.first_prompt + static_cast<std::uint32_t>(sequence.prompt));
  const std::span<float> row(logits(slot), static_cast<std::size_t>(sizes.V));
  const std::int32_t id = choose_token(row, sequence.tokens, sampling, rng.uniform(answer.ids.size()));
  if (std::find(sampling.stop_ids.begin(), sampling.stop_ids.end(), id) != sampling.stop_ids.end()) {
    answer.stopped = true;
    return false;
  }
  answer.ids.push_back(id);
  sequence.tokens.push_back(id);
  if (on_token) on_token(sequence.prompt, id);
  return static_cast<std::int64_t>(answer.ids.size()) < sampling.max_new_tokens &&
         static_cast<std::int64_t>(sequence.tokens.size()) < options.max_length;
}

Generator::Generator(const ModelSpec& spec, const ModelLayout& layout, const GeneratorOptions& options,
                     const Arena& arena, std::shared_ptr<const GeneratorBuffers> buffers, Device device) {
  DSTRAIN_CHECK(buffers != nullptr && buffers->options.dtype == options.dtype &&
                    buffers->options.max_length == options.max_length &&
                    buffers->options.max_sequences == options.max_sequences,
                "the generator's plan was made for other options");
  DSTRAIN_CHECK(max_threads() <= options.threads, "{} threads are at work, the plan is for {}", max_threads(),
                options.threads);
  impl_ = std::make_unique<Impl>(spec, layout, arena, std::move(buffers), device);
}

Generator::~Generator() = default;

void Generator::keep_in_step(AnyRank any_rank) { impl_->any_rank = std::move(any_rank); }

void Generator::help_others(ParameterStore& store) {
  while (impl_->any_rank && impl_->any_rank(false)) impl_->run(store, {}, {}, false);
}

std::vector<Generated> Generator::generate(ParameterStore& store, std::span<const std::vector<std::int32_t>> prompts,
                                           const SamplingOptions& sampling, const OnToken& on_token) {
  Impl& m = *impl_;
  check_sampling(sampling);
  DSTRAIN_CHECK(static_cast<std::int64_t>(prompts.size()) <= m.options.max_sequences, "{} prompts, planned for {}",
                prompts.size(), m.options.max_sequences);
  std::vector<Sequence> sequences;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    if (prompts[i].empty() || static_cast<std::int64_t>(prompts[i].size()) >= m.options.max_length) {
      throw ConfigError(
          fmt::format("prompt {} has {} tokens", i, prompts[i].size()), {},
          fmt::format("prompts of 1 to {} tokens leave room for an answer here", m.options.max_length - 1));
    }
    for (const std::int32_t id : prompts[i]) {
      if (id < 0 || id >= m.sizes.V) {
        throw ConfigError(fmt::format("token id {} is outside the model's vocabulary of {}", id, m.sizes.V), {},
                          "the tokenizer does not belong to this model");
      }
    }
    sequences.push_back({i, prompts[i]});
  }

  std::vector<Generated> answers(prompts.size());
  std::vector<Piece> pieces;
  bool reading = true;
  while (true) {
    pieces.clear();
    bool any = false;
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      Sequence& sequence = sequences[i];
      if (!sequence.running) continue;
      const auto slot = static_cast<std::int64_t>(i);
      if (reading) m.read_prompt(store, sequences, slot);
      sequence.running = m.extend(sequence, slot, sampling, answers[i], on_token);
      if (!sequence.running) continue;
      any = true;
      pieces.push_back(
          {slot, static_cast<std::int64_t>(pieces.size()), 1, static_cast<std::int64_t>(sequence.tokens.size()) - 1});
    }
    reading = false;
    if (!any) return answers;
    m.run(store, pieces, sequences, true);
  }
}

}  // namespace dstrain
