// SPDX-License-Identifier: Apache-2.0
/// The adapters' entries in the decoder's memory plan, and their products.
#pragma once

#include <vector>

#include "core/memory_plan.hpp"
#include "model/adapters/lora.hpp"
#include "model/decoder_buffers.hpp"

namespace dstrain {

/// Everything adapters hold during a pass; nothing where the layout has none. Local, pure.
/// @param category  first part of the entries' names
AdapterBuffers plan_adapters(MemoryPlan& plan, const ModelSpec& spec, const ModelLayout& layout,
                             const DecoderOptions& options, std::uint32_t phases, const char* category = "adapters");

/// Every product that adapters ask for in a pass over T rows. Local.
std::vector<Product> adapter_products(const ModelSpec& spec, const ModelLayout& layout, DType dtype, std::int64_t T,
                                      bool train);

/// The planned memory as what layers use.
AdapterPass make_adapter_pass(const AdapterBuffers& buffers, const Arena& arena, DType dtype, std::uint64_t seed);

/// Whether any matrix gets a gradient of its own (no adapter's): else their kernels are never made.
bool trains_matrices(const ModelLayout& layout);

/// The first unit with anything to train: backward ends there.
int first_trainable_unit(const ModelLayout& layout);

}  // namespace dstrain
