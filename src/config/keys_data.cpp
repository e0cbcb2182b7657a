// SPDX-License-Identifier: Apache-2.0
/// LLaMA-Factory's DataArguments.
#include "config/key_schema.hpp"

namespace dstrain::keys {

std::vector<KeySpec> data() {
  using C = RunConfig;
  using enum ValueType;
  return {
      runs("template", &C::template_name,
           "Chat template. Empty: read out of the tokenizer's chat_template, else `empty`"),
      runs("dataset", &C::dataset, "Names in dataset_info.json, or synthetic"),
      runs("dataset_dir", &C::dataset_dir, "Folder with dataset_info.json").path(),
      runs("cutoff_len", &C::cutoff_len, "Token limit of one example"),
      runs("train_on_prompt", &C::train_on_prompt, "The prompt's tokens count in the loss (sft)"),
      runs("mask_history", &C::mask_history, "Only the last turn counts in the loss (sft)"),
      runs("packing", &C::packing,
           "Several examples in one row of cutoff_len tokens. Empty: true for stage pt, else false"),
      runs("neat_packing", &C::neat_packing, "Packing where examples do not see each other (sft; implies packing)"),
      runs("max_samples", &C::max_samples, "First rows of each dataset. Empty: all"),
      runs("preprocessing_batch_size", &C::preprocessing_batch_size, "Examples that are packed together"),
      runs("preprocessing_num_workers", &C::preprocessing_num_workers,
           "Threads that turn texts into tokens. The result does not depend on it. Empty: as many as the rank has"),
      runs("default_system", &C::default_system, "System message instead of the template's"),
      runs("val_size", &C::val_size, "Part of the rows kept for validation: above 1 a number, below 1 a share"),
      runs("eval_dataset", &C::eval_dataset, "Datasets for validation: names in dataset_info.json"),
      noted("media_dir", text, "null", "Images, videos, audio", "text only"),
      runs("streaming", &C::streaming, "Read and tokenise data while training; needs max_steps"),
      runs("buffer_size", &C::buffer_size, "Rows of the shuffle buffer of streaming"),
      runs("mix_strategy", &C::mix_strategy,
           "How datasets are mixed: one after the other, or interleaved until the first "
           "has ended (under), until all have (over), each row once (once)")
          .choices("concat|interleave_under|interleave_over|interleave_once"),
      runs("interleave_probs", &C::interleave_probs, "Shares of interleaved datasets. Empty: in turns"),
      noted("overwrite_cache", boolean, "false", "Process data again",
            "the token cache is named by what it was made from; delete it to make it again"),
      noted("eval_num_beams", integer, "null", "Beam search in evaluation", "there is no beam search"),
      runs(
          "ignore_pad_token_for_loss", &C::ignore_pad_token_for_loss,
          "false: rows of a batch are padded to a multiple of 8, and the pads count in the loss (sft without packing)"),
      runs("eval_on_each_dataset", &C::eval_on_each_dataset, "One result for each of eval_dataset"),
      runs("tool_format", &C::tool_format, "Format of tools and function calls instead of the template's"),
      runs("enable_thinking", &C::enable_thinking,
           "Templates that think: an answer without thoughts gets empty ones, which count in the loss (true) or not "
           "(false, null); false: thoughts are cut out of the answers"),
      runs("tokenized_path", &C::tokenized_path,
           "Folder of processed rows: made where it does not exist, else taken instead of the datasets")
          .path(),
      noted("data_shared_file_system", boolean, "false", "Who processes the data",
            "rank 0 does, and sends it to the others"),
  };
}

}  // namespace dstrain::keys
