// SPDX-License-Identifier: Apache-2.0
#include "train/batch_hint.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/memory_plan.hpp"
#include "core/system_memory.hpp"
#include "train/machine.hpp"
#include "train/run_options.hpp"

namespace dstrain {
namespace {

constexpr double busy_mfu = 0.6;                     // beyond it a larger product is hardly faster
constexpr std::int64_t enough_tokens = 16 * 1024;    // in a micro-batch: matrices of that height are at their best rate
constexpr double usable_share = 0.8;                 // of the free memory: page cache and neighbours want some
constexpr std::int64_t fewest_steps_per_epoch = 10;  // a batch of half the data set is no advice

/// Bytes of one rank with micro-batches of `rows` rows.
std::int64_t bytes_with(const BatchFacts& f, int rows, int accumulation) {
  RunConfig config = f.config;
  config.per_device_train_batch_size = rows;
  config.gradient_accumulation_steps = accumulation;
  EngineOptions options = f.options;
  const std::int64_t before = std::max<std::int64_t>(options.max_tokens, 1);
  options.max_tokens = std::max(before, rows * options.max_position);  // every row as long as the longest
  options.client_bytes *= (options.max_tokens + before - 1) / before;
  options.max_micro_steps = micro_steps_per_rank(config, f.ranks);
  const auto plan = Engine::plan(f.spec, options, f.ranks);
  std::int64_t bytes = runtime_floor_bytes(f.ranks, f.ranks_on_node, options.device.kind);
  for (int kind = 0; kind < memory_kinds; ++kind) bytes += plan.arena_bytes(static_cast<MemoryKind>(kind));
  return bytes;
}

/// A batch that fits, or rows == 0.
struct Candidate {
  int rows = 0;
  int accumulation = 1;
  std::int64_t bytes = 0;
};

/// The largest micro-batch, by whole factors of the present one, that fits and is worth having.
Candidate largest(const BatchFacts& f) {
  const int rows = f.config.per_device_train_batch_size, accumulation = f.config.gradient_accumulation_steps;
  const int ranks = virtual_ranks(f.config, f.ranks);
  const auto usable = static_cast<std::int64_t>(usable_share * static_cast<double>(f.free_bytes));
  Candidate best;
  for (std::int64_t factor = 2; factor <= 1024; ++factor) {
    const std::int64_t wanted = rows * factor;
    if (wanted * f.options.max_position > enough_tokens) break;
    if (accumulation > 1 ? factor > accumulation : wanted * ranks * fewest_steps_per_epoch > f.rows) break;
    if (accumulation > 1 ? accumulation % factor != 0 : (factor & (factor - 1)) != 0) continue;
    const Candidate next{
        static_cast<int>(wanted), accumulation > 1 ? accumulation / static_cast<int>(factor) : 1,
        bytes_with(f, static_cast<int>(wanted), accumulation > 1 ? accumulation / static_cast<int>(factor) : 1)};
    if (next.bytes * f.ranks_on_node > usable) break;
    best = next;
  }
  return best;
}

}  // namespace

std::string batch_hint(const BatchFacts& f) {
  if (f.mfu >= busy_mfu) return {};
  const Candidate fits = largest(f);
  if (fits.rows == 0) return {};
  const int rows = f.config.per_device_train_batch_size, accumulation = f.config.gradient_accumulation_steps;
  const std::int64_t slots = std::int64_t{virtual_ranks(f.config, f.ranks)};
  const std::string memory =
      fmt::format("{} instead of {} per rank, {} were free on the node", format_bytes(fits.bytes),
                  format_bytes(bytes_with(f, rows, accumulation)), format_bytes(f.free_bytes));
  if (accumulation > 1) {
    return fmt::format(
        "per_device_train_batch_size: {} with gradient_accumulation_steps: {} fits ({}): the same {} rows a step in {} "
        "micro-batch{} of each rank instead of {}",
        fits.rows, fits.accumulation, memory, slots * rows * accumulation, fits.accumulation,
        fits.accumulation == 1 ? "" : "es", accumulation);
  }
  return fmt::format(
      "per_device_train_batch_size: {} fits ({}); a step then has {} rows instead of {} and an epoch {} steps instead "
      "of {}, so the learning rate may have to follow",
      fits.rows, memory, slots * fits.rows, slots * rows, (f.rows + slots * fits.rows - 1) / (slots * fits.rows),
      (f.rows + slots * rows - 1) / (slots * rows));
}

}  // namespace dstrain
