// SPDX-License-Identifier: Apache-2.0
/// A pickle of torch.save, read for the tensors it names. Nothing that a pickle asks for is ever run.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.hpp"

namespace dstrain {

/// A tensor of a state dict: a view of one stored array.
struct PickledTensor {
  std::string name;
  std::string storage;  ///< its number in the archive: "data/<storage>"
  DType dtype = DType::f32;
  std::int64_t storage_count = 0;  ///< elements of the whole array
  std::int64_t offset = 0;         ///< first element
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
};

/// Reads the pickled state dict `bytes` (the member data.pkl).
///
/// Knows the opcodes that pickle protocols 2 to 5 use for dictionaries, tuples, numbers and text, and as callables
/// OrderedDict, torch's _rebuild_tensor_v2 and _rebuild_parameter; every other callable is refused by name, any other
/// opcode by number. Memory is bounded by the length of `bytes`. Local.
/// @param where  the file, for messages
/// @throws IoError naming what was found
[[nodiscard]] std::vector<PickledTensor> read_state_dict(std::string_view bytes, const std::string& where);

}  // namespace dstrain
