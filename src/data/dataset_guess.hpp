// SPDX-License-Identifier: Apache-2.0
/// Datasets that are named by the path of their file instead of by a name in dataset_info.json.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "data/dataset_info.hpp"

namespace dstrain {

/// What a run makes of files that nothing describes.
struct GuessOptions {
  bool pairs = false;           ///< the stage wants a chosen and a rejected answer, where the row has both
  bool plain_text = false;      ///< the stage learns texts: gdGPT's pretrain rows are texts
  bool deepspeed_chat = false;  ///< the run follows DeepSpeed-Chat's step 1: prompt and answer are one text
};

/// What the file or folder `name` holds, by the columns of its first row; none where there is no such file.
///
/// Local. @param dataset_dir  where it is looked for after the working directory
/// @throws ConfigError  the first row has no columns that are known
std::optional<DatasetDescription> guess_dataset(const std::string& name, const std::filesystem::path& dataset_dir,
                                                const GuessOptions& options);

}  // namespace dstrain
