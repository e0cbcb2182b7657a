// SPDX-License-Identifier: Apache-2.0
/// Any bytes as DeepSpeed's configuration file beside a good one of the trainer.
#include "config_files.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dstrain;
  const std::string trainer =
      "model_name_or_path: preset:tiny\nstage: sft\ndo_train: true\nfinetuning_type: full\ndataset: synthetic\n"
      "output_dir: out\nper_device_train_batch_size: 2\nlearning_rate: 1.0e-4\nmax_steps: 3\ndeepspeed: ds.json\n";
  return fuzz::refuse_or_survive([&] {
    fuzz::resolve({"cfg.yaml"}, {{"cfg.yaml", trainer}, {"ds.json", std::string(fuzz::text_of(data, size))}});
  });
}
