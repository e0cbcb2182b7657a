// SPDX-License-Identifier: Apache-2.0
/// Any bytes as a file of torch.save: what opens must lie inside the file and be readable.
#include <algorithm>
#include <vector>

#include "bytes_as_file.hpp"
#include "io/torch/torch_file.hpp"

namespace {

using namespace dstrain;

void read_everything(const TorchFile& file, std::int64_t file_bytes) {
  std::vector<float> values;
  for (std::size_t i = 0; i < std::min<std::size_t>(file.tensors().size(), 256); ++i) {
    const auto index = static_cast<std::int32_t>(i);
    const TorchTensor& t = file.tensors()[i];
    if (t.count < 0 || t.count > file_bytes) std::abort();
    values.resize(static_cast<std::size_t>(t.count));
    fuzz::refuse_or_survive([&] { file.read_f32(index, 0, t.count, values.data()); });
    fuzz::refuse_or_survive([&] { file.read_f32(index, t.count / 2, t.count, values.data()); });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::BytesAsFile input(fuzz::text_of(data, size));
  return fuzz::refuse_or_survive(
      [&] { read_everything(TorchFile::open(input.path()), static_cast<std::int64_t>(size)); });
}
