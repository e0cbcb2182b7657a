// SPDX-License-Identifier: Apache-2.0
/// Answers to prompts, token by token, with the keys and values of earlier tokens kept.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/memory_plan.hpp"
#include "model/model_spec.hpp"
#include "model/parameter_store.hpp"
#include "model/sampling.hpp"

namespace dstrain {

struct GeneratorOptions {
  DType dtype = DType::f32;        ///< of weights, activations and the kept keys and values
  std::int64_t max_sequences = 1;  ///< prompts answered at the same time, at most 64
  std::int64_t max_length = 0;     ///< tokens of a prompt and its answer together
  std::int64_t prompt_rows = 512;  ///< prompts are read in pieces of so many tokens (a token class)
  int threads = 1;
};

struct GeneratorBuffers;

/// Enters everything generation needs besides the weights. Pure arithmetic.
/// @param phases  when the buffers are in use
std::shared_ptr<const GeneratorBuffers> plan_generator(MemoryPlan& plan, const ModelSpec& spec,
                                                       const ModelLayout& layout, const GeneratorOptions& options,
                                                       std::uint32_t phases = phase_always);
std::shared_ptr<const GeneratorBuffers> plan_generator(MemoryPlan& plan, const ModelSpec& spec,
                                                       const GeneratorOptions& options,
                                                       std::uint32_t phases = phase_always);

/// The answer to one prompt.
struct Generated {
  std::vector<std::int32_t> ids;  ///< without the stop token
  bool stopped = false;           ///< ended by a stop token, not by a length
};

/// Called with each token as it is chosen: the number of the prompt and the token.
using OnToken = std::function<void(std::size_t prompt, std::int32_t id)>;

/// Asked before each pass of a group whose ranks gather weights together: whether this rank has a pass to make; says
/// whether any rank has. Collective.
using AnyRank = std::function<bool(bool mine)>;

/// Holds no weights; not thread-safe. Collective where the store is.
class Generator {
 public:
  Generator(const ModelSpec& spec, const ModelLayout& layout, const GeneratorOptions& options, const Arena& arena,
            std::shared_ptr<const GeneratorBuffers> buffers, Device device);
  ~Generator();

  /// Answers prompts [0, max_sequences). An answer ends before a stop token, after max_new_tokens, or at max_length.
  ///
  /// A random number depends on (seed, prompt number, token number) alone. What is chosen for one prompt does not
  /// depend on the others but for the rounding of products with more rows.
  /// @throws ConfigError  an empty or too long prompt, a token outside the vocabulary, options out of range
  std::vector<Generated> generate(ParameterStore& store, std::span<const std::vector<std::int32_t>> prompts,
                                  const SamplingOptions& sampling, const OnToken& on_token = {});

  /// From now on every pass is announced to `any_rank`, and every pass visits every unit: for a store whose acquire()
  /// is collective. Each rank generates its own prompts, in as many calls as it likes, then calls help_others(). Local.
  void keep_in_step(AnyRank any_rank);
  /// Makes empty passes until no rank has one to make. Collective.
  void help_others(ParameterStore& store);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dstrain
