// SPDX-License-Identifier: Apache-2.0
/// What state dicts are made of: the callables and storages that a pickle of torch.save names.
#pragma once

#include <string>
#include <vector>

#include "io/torch/pickle.hpp"
#include "io/torch/pickle_stack.hpp"

namespace dstrain::pickle {

/// "module name" as a value. Local.
/// @throws IoError  no state dict needs it
void push_global(Stack& stack, const std::string& name);

/// Makes a storage of ('storage', type, key, location, count) on the stack. Local. @throws IoError  something else is
/// there
void push_storage(Stack& stack);

/// Makes the object of a callable and its arguments on the stack. Local. @throws IoError  not as torch calls it
void call(Stack& stack);

/// The tensors of the dictionary on the stack. Local. @throws IoError  it is none, or holds something else
std::vector<PickledTensor> tensors_of(Stack& stack);

}  // namespace dstrain::pickle
