// SPDX-License-Identifier: Apache-2.0
#include "plan/deepspeed_estimator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>

namespace dstrain {
namespace {

// Python's numbers: products of whole numbers are exact, a quotient is the nearest double. Doubles hold the products
// here exactly up to 2^53, that is for 10^14 parameters and more.
double as_double(std::int64_t number) { return static_cast<double>(number); }

std::string header(const EstimatorInput& input) {
  return fmt::format(
      "Estimated memory needed for params, optim states and gradients for a:\n"
      "HW: Setup with {} {}, {} {} per node.\n"
      "SW: Model with {}M total params",
      input.num_nodes, input.num_nodes > 1 ? "nodes" : "node", input.num_gpus_per_node,
      input.num_gpus_per_node > 1 ? "GPUs" : "GPU", static_cast<std::int64_t>(as_double(input.total_params) / 1e6));
}

std::string row(const EstimatedBytes& bytes, const std::string& options) {
  constexpr double kGiB = 1073741824.0;
  return fmt::format(" {:7.2f}GB | {:6.2f}GB | {}\n", as_double(bytes.cpu) / kGiB, as_double(bytes.gpu) / kGiB,
                     options);
}

constexpr std::string_view kColumns = "  per CPU  |  per GPU |   Options\n";
const char* device(bool cpu) { return cpu ? "cpu " : "none"; }

}  // namespace

EstimatedBytes estimate_zero2(const EstimatorInput& input, bool cpu_offload) {
  const double params = as_double(input.total_params);
  const std::int64_t gpus = std::int64_t{input.num_nodes} * input.num_gpus_per_node;
  if (cpu_offload) {
    const double factor = as_double(std::max<std::int64_t>(4 * gpus, 16));
    return {static_cast<std::int64_t>(params * factor * input.additional_buffer_factor), 2 * input.total_params};
  }
  const auto shard = static_cast<std::int64_t>(18 * params / as_double(gpus));
  return {static_cast<std::int64_t>(params * 4 * input.num_gpus_per_node * input.additional_buffer_factor),
          2 * input.total_params + shard};
}

EstimatedBytes estimate_zero3(const EstimatorInput& input, bool cpu_offload, bool cpu_offload_params, bool zero_init) {
  const double params = as_double(input.total_params);
  const double gpus = as_double(std::int64_t{input.num_nodes} * input.num_gpus_per_node);
  const double gpus_factor = 1.0 / input.num_nodes;
  const double on_node = 4.0 * input.num_gpus_per_node;
  const std::int64_t largest = 4 * input.largest_layer_params;
  double cpu = 0.0;
  std::int64_t gpu = largest;
  if (cpu_offload) {
    const double states = cpu_offload_params ? 18 : 16;
    if (!cpu_offload_params) gpu += static_cast<std::int64_t>(2 * params / gpus);
    cpu = zero_init ? params * states * gpus_factor : params * std::max(on_node, states * gpus_factor);
  } else {
    gpu += static_cast<std::int64_t>(18 * params / gpus);
    cpu = (zero_init ? as_double(input.largest_layer_params) : params) * 4 * input.num_gpus_per_node;
  }
  return {static_cast<std::int64_t>(cpu * input.additional_buffer_factor), gpu};
}

std::string estimator_table_zero2(const EstimatorInput& input) {
  auto text = header(input) + ".\n" + std::string(kColumns);
  for (const bool offload : {true, false}) {
    text += row(estimate_zero2(input, offload), fmt::format("offload_optimizer={}", device(offload)));
  }
  return text;
}

std::string estimator_table_zero3(const EstimatorInput& input) {
  auto text = header(input) + fmt::format(", {}M largest layer params.\n",
                                          static_cast<std::int64_t>(as_double(input.largest_layer_params) / 1e6));
  text += kColumns;
  for (const auto& [offload, offload_params] :
       {std::pair{true, true}, std::pair{true, false}, std::pair{false, false}}) {
    for (const bool zero_init : {true, false}) {
      text += row(estimate_zero3(input, offload, offload_params, zero_init),
                  fmt::format("offload_param={}, offload_optimizer={}, zero_init={}", device(offload_params),
                              device(offload), zero_init ? 1 : 0));
    }
  }
  return text;
}

EstimatorInput estimator_input(const ModelLayout& layout) {
  EstimatorInput input{.total_params = layout.parameters};
  std::map<std::string_view, std::int64_t> modules;
  for (const auto& tensor : layout.tensors) {
    const std::string_view name = tensor.name;
    modules[name.substr(0, name.rfind('.'))] += tensor.count;
  }
  for (const auto& [name, count] : modules) input.largest_layer_params = std::max(input.largest_layer_params, count);
  return input;
}

}  // namespace dstrain
