// SPDX-License-Identifier: Apache-2.0
/// Index of the operations: one signature each, implemented by kernels/cpu, later kernels/cuda, and defined by
/// kernels/reference.
#pragma once

#include "kernels/ops/activation.hpp"
#include "kernels/ops/adafactor.hpp"
#include "kernels/ops/adapter.hpp"
#include "kernels/ops/argmax.hpp"
#include "kernels/ops/attention.hpp"
#include "kernels/ops/common.hpp"
#include "kernels/ops/cross_entropy.hpp"
#include "kernels/ops/dropout.hpp"
#include "kernels/ops/elementwise.hpp"
#include "kernels/ops/head_norm.hpp"
#include "kernels/ops/layer_norm.hpp"
#include "kernels/ops/matmul.hpp"
#include "kernels/ops/newton_schulz.hpp"
#include "kernels/ops/optimizer.hpp"
#include "kernels/ops/optimizer_8bit.hpp"
#include "kernels/ops/rms_norm.hpp"
#include "kernels/ops/rope.hpp"
#include "kernels/ops/row_norm.hpp"
