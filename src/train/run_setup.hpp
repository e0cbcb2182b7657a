// SPDX-License-Identifier: Apache-2.0
/// What stands between a resolved configuration and the first step: model, tokenizer and data, read by rank 0 alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "config/run_config.hpp"
#include "data/dataset_digest.hpp"
#include "data/feeder.hpp"
#include "data/row_source.hpp"
#include "data/tokenizer.hpp"
#include "io/hf_folder/hf_folder.hpp"
#include "model/model_spec.hpp"
#include "train/tuning_setup.hpp"

namespace dstrain {

/// Rows to evaluate on: the part that val_size keeps, or eval_dataset.
struct EvalSource {
  std::string name;                 ///< all ranks; empty: its loss is eval_loss, else eval_<name>_loss
  std::unique_ptr<RowSource> rows;  ///< rank 0
  std::unique_ptr<Feeder> feeder;   ///< all ranks; its memory is not bound; none where nothing is evaluated
};

/// Model and data of a run. Files are only known on rank 0.
struct RunSetup {
  ModelSpec spec;                         ///< all ranks
  TuningSetup tuning;                     ///< all ranks
  std::unique_ptr<Feeder> feeder;         ///< all ranks; none where there is nothing to train on
  std::vector<EvalSource> eval_sources;   ///< all ranks
  std::unique_ptr<RowSource> prompts;     ///< rank 0: what do_predict answers, rows of kind `prompt`
  std::int64_t prompt_count = 0;          ///< all ranks
  std::int64_t longest_prompt = 0;        ///< all ranks, in tokens
  std::filesystem::path model_folder;     ///< rank 0: where weights and tokenizer are; empty for a preset
  bool has_weights = false;               ///< rank 0
  std::int64_t stored_vocab_rows = 0;     ///< rank 0: rows of the stored embedding where resize_vocab gave it more
  HfFolder files;                         ///< rank 0: written again beside the trained model
  std::unique_ptr<RowSource> row_source;  ///< rank 0
  std::optional<Tokenizer> tokenizer;     ///< rank 0: as the template left it; none for synthetic rows
  DataState data_state;                   ///< rank 0: what the training rows are made from; empty for synthetic rows
  std::string data_note;                  ///< rank 0: truncated and dropped samples, cache; for the report
};

/// Model and rows without any other rank: what `dstrain data` shows. `feeder` stays empty. Local.
RunSetup open_run_data(const RunConfig& config);

/// Where tokenised rows are kept: $DSTRAIN_CACHE, else $XDG_CACHE_HOME/dstrain, else ~/.cache/dstrain. Local.
std::filesystem::path cache_folder();

/// Opens model and data on rank 0 and tells the other ranks what they need.
///
/// Collective; `plan` calls it with a PlanCommunicator. @throws on all ranks what goes wrong on rank 0
/// @param read_data  false: every row is taken to be cutoff_len long, and no dataset is looked at
RunSetup setup_run(Communicator& comm, const RunConfig& config, bool read_data = true);

/// Runs `produce` on rank 0 and gives its text to all. Collective; an error of rank 0 is thrown on all.
std::string on_rank0(Communicator& comm, std::string_view what, const std::function<std::string()>& produce);

}  // namespace dstrain
