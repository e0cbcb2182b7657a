// SPDX-License-Identifier: Apache-2.0
/// The FLOPs of one step, module by module: DeepSpeed's flops_profiler.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/model_spec.hpp"
#include "train/step_profile.hpp"

namespace dstrain {

/// One module of a model with everything in it.
struct ModuleCost {
  std::string name;  ///< dotted path; layers are one: "model.layers.*"
  int depth = 0;     ///< 0: the model itself
  std::int64_t parameters = 0;
  double forward_flops = 0.0;
  double backward_flops = 0.0;  ///< without what is computed again
};

/// The model and its modules, each behind the one that holds it, with what a rank computes of them in a step.
///
/// A product costs 2 FLOPs per weight and token forward, as many again for the gradient of its input and, where the
/// weight is trained, for that of the weight; attention 4 per pair and element of its width forward, twice that
/// backward (its own recomputation of scores aside). Norms, activations and look-ups count nothing, as in DeepSpeed's
/// table of products. Local, pure.
std::vector<ModuleCost> module_costs(const ModelSpec& spec, const ModelLayout& layout, const StepWork& work);

struct FlopsTableOptions {
  std::int64_t step = 0;
  int depth = -1;           ///< levels that are listed; -1: all
  bool detailed = true;     ///< list modules at all
  bool recomputes = false;  ///< gradient checkpointing: forward of the blocks runs a second time
};

/// The table: the whole step, then the modules. Local, pure.
std::string flops_table(const std::vector<ModuleCost>& modules, const StepTimes& times, const StepWork& work,
                        const FlopsTableOptions& options);

}  // namespace dstrain
