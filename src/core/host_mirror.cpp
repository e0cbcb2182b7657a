// SPDX-License-Identifier: Apache-2.0
#include "core/host_mirror.hpp"

namespace dstrain {

void* HostMirror::copy_of(void* at, std::int64_t bytes, bool fetched) {
  if (!stream_.on_device() || at == nullptr || bytes == 0) return at;
  ranges_.push_back({at, bytes, std::unique_ptr<char[]>(new char[static_cast<std::size_t>(bytes)])});
  void* copy = ranges_.back().copy.get();
  if (fetched) {
    copy_bytes(stream_, copy, at, bytes);
    stream_.synchronize();
  }
  return copy;
}

void HostMirror::store() {
  for (const Range& range : ranges_) copy_bytes(stream_, range.at, range.copy.get(), range.bytes);
  if (!ranges_.empty()) stream_.synchronize();
  ranges_.clear();
}

}  // namespace dstrain
