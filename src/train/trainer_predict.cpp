// SPDX-License-Identifier: Apache-2.0
/// do_predict with predict_with_generate: an answer to every row of the validation set.
#include <chrono>

#include "core/log.hpp"
#include "data/dataset.hpp"
#include "data/template.hpp"
#include "train/predictions.hpp"
#include "train/result_files.hpp"
#include "train/run_options.hpp"
#include "train/training_run.hpp"

namespace dstrain {

namespace {

std::vector<std::int32_t> copy(std::span<const std::int32_t> ids) { return {ids.begin(), ids.end()}; }

}  // namespace

void Trainer::predict() {
  const auto start = Clock::now();
  TokenRows prompts, labels;
  SamplingOptions sampling = sampling_options(config_);
  if (is_root()) {
    std::vector<std::int32_t> scratch;
    for (std::int64_t i = 0; i < setup_.prompt_count; ++i) {
      const RowView row = setup_.prompts->row(i, scratch);
      prompts.push_back(copy(row.input_ids));
      labels.push_back(copy(row.labels));
    }
    const auto data = dataset_options(config_);
    // A template that is read out of a chat_template has no stop words, as `empty`.
    const Template chat(data.template_name.empty() ? "empty" : data.template_name, data.chat);
    sampling.stop_ids = chat.stop_ids(*setup_.tokenizer);
  }
  const int batch = prediction_batch(config_);
  const TokenRows answers = answer_prompts(comm_, *engine_, prompts, batch, sampling, [&](std::int64_t answered) {
    log::info("{} prompts answered by rank 0, {} in all", answered, setup_.prompt_count);
  });
  const double runtime = std::chrono::duration<double>(Clock::now() - start).count();
  on_all_ranks(comm_, "write the predictions", [&] {
    if (!is_root()) return;
    const Tokenizer& tokenizer = *setup_.tokenizer;
    std::vector<Prediction> predictions, plain;  // metrics look at texts without special tokens
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      const auto text = [&](const std::vector<std::int32_t>& ids) {
        return tokenizer.decode(ids, config_.skip_special_tokens);
      };
      predictions.push_back({tokenizer.decode(prompts[i]), text(answers[i]), text(labels[i])});
      plain.push_back({{}, tokenizer.decode(answers[i], true), tokenizer.decode(labels[i], true)});
    }
    const auto path = std::filesystem::path(config_.output_dir) / "generated_predictions.jsonl";
    write_predictions(path, predictions);
    Metrics metrics = prediction_metrics(plain);
    const std::int64_t per_step = static_cast<std::int64_t>(batch) * comm_.size();
    add_speed(metrics, "predict", runtime, setup_.prompt_count, (setup_.prompt_count + per_step - 1) / per_step);
    if (!setup_.feeder) metrics["predict_model_preparation_time"] = round_decimals(preparation_s_, 4);
    if (setup_.feeder) metrics["epoch"] = epoch_;
    save_results(config_.output_dir, "predict", metrics);
    log::write(log::Level::info, results_table("predict", metrics));
    log::info("predictions are in {}", path.string());
  });
}

}  // namespace dstrain
