// SPDX-License-Identifier: Apache-2.0
/// What the backends share of an update: its checks, and its scalars, made once per call.
#pragma once

#include "kernels/cpu/simd/functions.hpp"
#include "kernels/ops/optimizer.hpp"

namespace dstrain::cpu {

/// Whether `arrays` has the states that a rule needs, those that the parameters leave out aside. Local, pure.
bool has_states(UpdateRule rule, const UpdateArrays& arrays, const UpdateParameters& p);

/// The same numbers for UpdateRule::adamw. Local, pure.
UpdateParameters parameters_of(const AdamWParameters& p);

/// Numbers rounded to float where torch rounds them: after they were combined in f64. Local, pure.
UpdateScalars scalars_of(UpdateRule rule, const UpdateParameters& p);

/// The copy's elements from `begin` on. @throws ShapeError  its dtype is neither bf16 nor f16
ComputeCopy compute_copy_at(Data copy, std::int64_t begin);

}  // namespace dstrain::cpu
