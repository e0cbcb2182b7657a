// SPDX-License-Identifier: Apache-2.0
/// The families, one constant each; families/table.cpp lists them.
#pragma once

#include "model/families/family.hpp"

namespace dstrain::families {

extern const Family chatglm;
extern const Family llama;
extern const Family mistral;
extern const Family qwen2;

}  // namespace dstrain::families
