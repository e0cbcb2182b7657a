// SPDX-License-Identifier: Apache-2.0
/// transformers' Seq2SeqTrainingArguments: output, logging, saving, evaluation.
#include "config/key_schema.hpp"

namespace dstrain::keys {
namespace {
constexpr std::string_view kAtOnce = "results are added up batch by batch; nothing is gathered at the end";
constexpr std::string_view kUploadYourself = "nothing is sent to a hub; upload output_dir yourself";
}  // namespace

std::vector<KeySpec> training_output() {
  using C = RunConfig;
  using enum ValueType;
  return {
      runs("output_dir", &C::output_dir, "Where logs, checkpoints and the model go"),
      runs("overwrite_output_dir", &C::overwrite_output_dir,
           "Start afresh; false: go on from the newest checkpoint in output_dir, and refuse a folder that holds a "
           "model"),
      runs("logging_strategy", &C::logging_strategy, "When a line is logged").choices("no|steps|epoch"),
      runs("logging_steps", &C::logging_steps, "Updates between two lines; below 1: share of all updates"),
      runs("logging_first_step", &C::logging_first_step, "Also log the first update"),
      runs("save_strategy", &C::save_strategy,
           "When a checkpoint is written; steps: also after the last update; best: after the best evaluation so far")
          .choices("no|steps|epoch|best"),
      runs("save_steps", &C::save_steps, "Updates between two checkpoints; below 1: share of all updates"),
      runs("save_total_limit", &C::save_total_limit,
           "Checkpoints kept; the oldest is removed, the best one never. Empty: all"),
      runs("save_only_model", &C::save_only_model,
           "Checkpoints without optimizer state: smaller, but no run can resume from them"),
      runs("resume_from_checkpoint", &C::resume_from_checkpoint,
           "A checkpoint folder, or true for the newest in output_dir")
          .path(),
      runs("ignore_data_skip", &C::ignore_data_skip,
           "A resume begins the epoch it stopped in at its first row, instead of after the rows already seen"),
      runs("include_num_input_tokens_seen", &C::include_num_input_tokens_seen, "Add token counts to trainer_log.jsonl"),
      runs("disable_tqdm", &C::disable_tqdm, "No progress bar. Empty: a bar on terminals only"),
      runs("report_to", &C::report_to, "Further loggers; trainer_log.jsonl is always written")
          .choices("none|all|tensorboard|wandb|swanlab|mlflow|comet_ml|clearml|neptune|azure_ml|codecarbon|dagshub|"
                   "dvclive|flyte|trackio"),
      runs("do_eval", &C::do_eval,
           "Evaluate after training, or alone where do_train is false; on with any eval_strategy"),
      runs("do_predict", &C::do_predict,
           "Answer the validation set's prompts at the end (stage sft, with predict_with_generate): "
           "generated_predictions.jsonl"),
      runs("predict_with_generate", &C::predict_with_generate, "Predictions by generating; what do_predict needs"),
      runs("eval_strategy", &C::eval_strategy, "When to evaluate during training").choices("no|steps|epoch"),
      runs("eval_on_start", &C::eval_on_start, "Evaluate before the first update too"),
      runs("load_best_model_at_end", &C::load_best_model_at_end,
           "The model that is written is that of the best checkpoint; needs the same eval_strategy and save_strategy"),
      runs("metric_for_best_model", &C::metric_for_best_model,
           "What best means: loss, accuracy or a result's full name. Empty: loss where a best model is asked for"),
      runs("greater_is_better", &C::greater_is_better, "What best means. Empty: false for names that end in loss"),
      runs("eval_steps", &C::eval_steps,
           "Updates between evaluations; below 1: share of all updates. Empty: logging_steps"),
      runs("eval_delay", &C::eval_delay, "Updates (or epochs, with eval_strategy: epoch) before the first evaluation"),
      noted("eval_accumulation_steps", integer, "null", "Evaluation", kAtOnce),
      runs("per_device_eval_batch_size", &C::per_device_eval_batch_size, "Rows per evaluation batch of one rank"),
      runs("prediction_loss_only", &C::prediction_loss_only,
           "Evaluations give the loss alone, whatever compute_accuracy says"),
      noted("include_inputs_for_metrics", boolean, "false", "Evaluation", kAtOnce),
      noted("include_for_metrics", list, "[]", "Evaluation", kAtOnce),
      noted("eval_do_concat_batches", boolean, "true", "Evaluation", kAtOnce),
      noted("batch_eval_metrics", boolean, "false", "Evaluation", kAtOnce),
      noted("eval_use_gather_object", boolean, "false", "Evaluation", kAtOnce),
      noted("generation_max_length", integer, "null", "Generation during evaluation",
            "evaluation generates nothing; max_new_tokens is the key of predictions"),
      refused("generation_num_beams", integer, "null", "Beam search during evaluation", "there is no beam search")
          .off("1"),
      noted("generation_config", any, "null", "Generation during evaluation",
            "say it with the generation keys (do_sample, top_p, ...)"),
      refused("save_safetensors", boolean, "true", "Write safetensors", "other files are not written"),
      refused("save_on_each_node", boolean, "false", "Every node keeps its own copy",
              "not supported yet; output_dir must be visible to every rank"),
      noted("include_tokens_per_second", boolean, "false", "Tokens per second in the result files",
            "train_results.json always has train_tokens_per_second"),
      noted("run_name", text, "null", "Name of the run in loggers", "there is no logger that takes one"),
      runs("logging_dir", &C::logging_dir, "Folder of TensorBoard's files. Empty: output_dir/runs/<date>_<host>"),
      noted("logging_nan_inf_filter", boolean, "true", "Hide nan and inf in the log",
            "a loss that is no finite number ends the run"),
      runs("log_level", &C::log_level, "What is said on stderr: passive and info notes too, warning, error; debug")
          .choices("passive|detail|debug|info|warning|error|critical"),
      noted("log_level_replica", text, "warning", "How much other ranks say", "other ranks say errors only"),
      noted("log_on_each_node", boolean, "true", "Who logs", "rank 0 logs"),
      refused("push_to_hub", boolean, "false", "Upload", kUploadYourself),
      noted("hub_model_id", text, "null", "Upload", kUploadYourself),
      noted("hub_strategy", text, "every_save", "Upload", kUploadYourself),
      noted("hub_token", text, "null", "Hub password, never printed", kUploadYourself),
      noted("hub_private_repo", boolean, "null", "Upload", kUploadYourself),
      noted("hub_always_push", boolean, "false", "Upload", kUploadYourself),
      noted("push_to_hub_model_id", text, "null", "Upload", kUploadYourself),
      noted("push_to_hub_organization", text, "null", "Upload", kUploadYourself),
      noted("push_to_hub_token", text, "null", "Hub password, never printed", kUploadYourself),
  };
}

}  // namespace dstrain::keys
