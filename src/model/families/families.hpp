// SPDX-License-Identifier: Apache-2.0
/// The families, one constant each; families/table.cpp lists them.
#pragma once

#include "model/families/family.hpp"

namespace dstrain::families {

extern const Family baichuan;
extern const Family bloom;
extern const Family chatglm;
extern const Family gemma;
extern const Family gemma2;
extern const Family glm;
extern const Family glm4;
extern const Family gpt2;
extern const Family granite;
extern const Family internlm2;
extern const Family llama;
extern const Family mistral;
extern const Family phi3;
extern const Family qwen2;
extern const Family qwen3;
extern const Family stablelm;
extern const Family starcoder2;

}  // namespace dstrain::families
