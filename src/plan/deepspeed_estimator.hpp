// SPDX-License-Identifier: Apache-2.0
/// DeepSpeed's own estimate of a model's memory, in its own words and digits, to lay beside the exact plan.
///
/// It counts parameters, gradients and optimizer states in mixed precision: no activations, no buckets, no gathered
/// layers beyond the largest, no logits, no libraries.
#pragma once

#include <cstdint>
#include <string>

#include "model/layout.hpp"

namespace dstrain {

/// What the estimate needs to know.
struct EstimatorInput {
  std::int64_t total_params = 0;
  std::int64_t largest_layer_params = 0;  ///< of the module with the most parameters of its own
  int num_gpus_per_node = 1;
  int num_nodes = 1;
  double additional_buffer_factor = 1.5;
};

/// Bytes on each node's host (cpu) and on each GPU.
struct EstimatedBytes {
  std::int64_t cpu = 0;
  std::int64_t gpu = 0;
};

/// deepspeed.runtime.zero.stage_1_and_2.estimate_zero2_model_states_mem_needs. Local.
EstimatedBytes estimate_zero2(const EstimatorInput& input, bool cpu_offload);
/// deepspeed.runtime.zero.stage3.estimate_zero3_model_states_mem_needs. Local.
EstimatedBytes estimate_zero3(const EstimatorInput& input, bool cpu_offload, bool cpu_offload_params, bool zero_init);

/// What estimate_zero2_model_states_mem_needs_all_cold (and _all_live) print. Local.
std::string estimator_table_zero2(const EstimatorInput& input);
/// What estimate_zero3_model_states_mem_needs_all_cold (and _all_live) print. Local.
std::string estimator_table_zero3(const EstimatorInput& input);

/// total_params and largest_layer_params of a model as DeepSpeed counts them: tensors of one module together, a tied
/// matrix once. Local.
EstimatorInput estimator_input(const ModelLayout& layout);

}  // namespace dstrain
