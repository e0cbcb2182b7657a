// SPDX-License-Identifier: Apache-2.0
/// Any bytes as the pickle of a state dict. Nothing that it asks for is run, and it cannot make more than it is long.
#include "fuzz.hpp"
#include "io/torch/pickle.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dstrain;
  return fuzz::refuse_or_survive([&] {
    for (const PickledTensor& tensor : read_state_dict(fuzz::text_of(data, size), "input")) {
      if (tensor.shape.size() > size || tensor.name.size() > size || tensor.storage.size() > size) std::abort();
    }
  });
}
