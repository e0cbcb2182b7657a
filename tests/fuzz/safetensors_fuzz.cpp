// SPDX-License-Identifier: Apache-2.0
/// Any bytes as a safetensors file, and its text alone as a header: what opens must lie inside the file and be
/// readable.
#include <algorithm>
#include <vector>

#include "bytes_as_file.hpp"
#include "io/safetensors/reader.hpp"

namespace {

using namespace dstrain;

/// No two tensors share a byte and none is left out: what the reader promises for a file that it opened.
void check_tiles(const std::vector<SafetensorsEntry>& tensors, std::int64_t data_bytes) {
  std::int64_t end = 0;
  for (const SafetensorsEntry& t : tensors) {
    if (t.offset != end || t.bytes < 0 || t.bytes > data_bytes - end) std::abort();
    end += t.bytes;
  }
  if (end != data_bytes) std::abort();
}

void read_everything(const SafetensorsFile& file) {
  std::vector<float> values;
  for (std::size_t i = 0; i < file.tensors().size(); ++i) {
    const auto index = static_cast<std::int32_t>(i);
    const SafetensorsEntry& t = file.tensors()[i];
    if (file.find(t.name) != index) std::abort();
    values.resize(static_cast<std::size_t>(t.count()));
    fuzz::refuse_or_survive([&] { file.read_f32(index, 0, t.count(), values.data()); });
    fuzz::refuse_or_survive([&] { file.read_f32(index, t.count() / 2, t.count(), values.data()); });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = fuzz::text_of(data, size);
  const fuzz::BytesAsFile input(bytes);
  fuzz::refuse_or_survive([&] { read_everything(SafetensorsFile::open(input.path())); });
  // The length in front rarely fits what was changed behind it.
  const std::string_view json = bytes.substr(std::min<std::size_t>(size, 8));
  for (const std::int64_t data_bytes : {std::int64_t{0}, std::int64_t{64}, std::int64_t{1} << 40}) {
    fuzz::refuse_or_survive([&] {
      const SafetensorsHeader header = parse_safetensors_header(json, data_bytes, "input");
      check_tiles(header.tensors, data_bytes);
    });
  }
  return 0;
}
