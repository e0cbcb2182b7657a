// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint/write.hpp"

#include "io/checkpoint/folders.hpp"
#include "io/checkpoint/writer.hpp"

namespace dstrain {

std::filesystem::path write_checkpoint(Communicator& comm, const std::filesystem::path& output_dir, std::int64_t step,
                                       const CheckpointContent& content, const CheckpointOptions& options) {
  CheckpointWriter writer(comm, View());
  writer.begin(output_dir, step, content, options);
  writer.finish();
  return output_dir / checkpoint_name(step);
}

}  // namespace dstrain
