// SPDX-License-Identifier: Apache-2.0
#include "train/run_setup.hpp"

#include <algorithm>
#include <cstdlib>
#include <span>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "data/dataset.hpp"
#include "data/selected_rows.hpp"
#include "data/tokenizer.hpp"
#include "train/grown_vocab.hpp"
#include "train/model_source.hpp"
#include "train/run_options.hpp"

namespace dstrain {

namespace {

/// Every id needs a row in the embedding: a tokenizer may have more tokens than the model (a template's stop words).
void check_ids(const RowSource& rows, std::int64_t vocab_size) {
  std::vector<std::int32_t> scratch;
  for (std::int64_t i = 0; i < rows.info().rows; ++i) {
    for (const auto id : rows.row(i, scratch).input_ids) {
      if (id < vocab_size) continue;
      throw ConfigError(
          fmt::format("row {} holds token id {}, but the model's embedding has {} rows", i, id, vocab_size), {},
          "choose a template whose special tokens the model knows, or set resize_vocab: true");
    }
  }
}

bool trains(const RunConfig& config) { return runs_training(config) && !config.dataset.empty(); }

std::vector<std::string> eval_source_names(const RunConfig& config) {
  return dstrain::eval_source_names(dataset_options(config));
}

/// Rows from the dataset files of the configuration.
void open_files(const RunConfig& config, int ranks, RunSetup& setup) {
  if (setup.model_folder.empty()) {
    throw ConfigError(fmt::format("'{}' has no tokenizer, so it cannot read the dataset", config.model_name_or_path),
                      {}, "give a model folder with tokenizer files, or dataset: synthetic");
  }
  auto options = dataset_options(config);
  options.cache_dir = cache_folder();
  if (options.streaming) {
    const auto plan = feeder_options(config, ranks).plan;
    options.stream.rows_per_step = static_cast<std::int64_t>(plan.per_device_train_batch_size) *
                                   plan.gradient_accumulation_steps * plan.virtual_ranks;
    options.stream.rows = std::max<std::int64_t>(config.max_steps, 1) * options.stream.rows_per_step;
    options.stream.vocab_size = setup.spec.vocab_size;
  }
  auto data = open_dataset(options, read_tokenizer_files(setup.model_folder), tokenizer_options(config));
  for (auto& [name, rows] : data.eval_rows) setup.eval_sources.push_back({name, std::move(rows), nullptr});
  if (data.tokenizer.vocab_size() > setup.spec.vocab_size) {
    if (data.rows && !data.rows->info().streamed) check_ids(*data.rows, setup.spec.vocab_size);
    for (const auto& source : setup.eval_sources) check_ids(*source.rows, setup.spec.vocab_size);
  }
  if (data.rows) {
    const auto& info = data.rows->info();
    setup.data_note = info.streamed ? std::string("streamed")
                                    : fmt::format("{} truncated, {} dropped{}", info.truncated, info.dropped,
                                                  data.from_cache ? ", from the token cache" : "");
  }
  setup.data_state = data.state;
  setup.row_source = std::move(data.rows);
  setup.tokenizer = std::move(data.tokenizer);
}

/// The validation set again, as prompts and answers: LLaMA-Factory's unsupervised rows.
void open_prompts(const RunConfig& config, RunSetup& setup, bool read_data) {
  if (!config.do_predict) return;
  if (!read_data) {  // for sizes alone
    setup.prompt_count = config.per_device_eval_batch_size;
    setup.longest_prompt = config.cutoff_len;
    return;
  }
  if (config.dataset == std::vector<std::string>{"synthetic"})
    throw ConfigError("synthetic rows are no text to answer", "do_predict", "name datasets of files");
  auto options = dataset_options(config);
  options.cache_dir = cache_folder();
  options.encode.stage = Stage::ppo;
  options.encode.packing = options.encode.neat_packing = false;
  options.encode.train_on_prompt = options.encode.mask_history = false;
  options.eval_on_each_dataset = false;
  options.streaming = false;
  options.tokenized_path.reset();  // it holds rows of the stage
  if (!options.eval_dataset.empty()) options.dataset = std::exchange(options.eval_dataset, {});
  auto data = open_dataset(options, read_tokenizer_files(setup.model_folder), tokenizer_options(config));
  setup.prompts = data.eval_rows.empty() ? std::move(data.rows) : std::move(data.eval_rows.front().rows);
  setup.prompt_count = setup.prompts->info().rows;
  std::vector<std::int32_t> scratch;
  for (std::int64_t i = 0; i < setup.prompt_count; ++i) {
    setup.longest_prompt = std::max(setup.longest_prompt, std::ssize(setup.prompts->row(i, scratch).input_ids));
  }
}

void open_model_files(const RunConfig& config, RunSetup& setup) {
  auto source = open_model(config.model_name_or_path);
  setup.spec = std::move(source.spec);
  if (config.rope_scaling) apply_rope_scaling(setup.spec, *config.rope_scaling, config.cutoff_len);
  setup.model_folder = source.folder;
  setup.has_weights = source.has_weights;
  if (source.has_config_folder()) setup.files = read_hf_folder(source.folder);
  setup.files.config_json = setup.spec.config_json;
  setup.stored_vocab_rows = resize_vocab(config, setup.model_folder, setup.spec, setup.files).stored_rows;
}

void open_rows(const RunConfig& config, int ranks, RunSetup& setup, bool read_data) {
  if (read_data && config.dataset != std::vector<std::string>{"synthetic"}) {
    open_files(config, ranks, setup);
    return;
  }
  const auto synthetic = [&](std::uint64_t seed) {
    return std::make_unique<SyntheticRows>(config.synthetic_rows, config.cutoff_len,
                                           static_cast<std::int32_t>(setup.spec.vocab_size), seed);
  };
  const auto seed = static_cast<std::uint64_t>(config.seed);
  if (!config.dataset.empty()) setup.row_source = synthetic(seed);
  if (config.eval_dataset.empty() && config.val_size > 1e-6) {
    auto [train, validation] = split_source(std::move(setup.row_source), config.val_size, seed);
    setup.row_source = std::move(train);
    setup.eval_sources.push_back({"", std::move(validation), nullptr});
    return;
  }
  // Where only sizes matter (`plan`), eval_dataset is taken to be as long as the training rows.
  for (const auto& name : eval_source_names(config)) setup.eval_sources.push_back({name, synthetic(seed), nullptr});
}

/// ignore_pad_token_for_loss: false. The pads' id is known where rows are filled in, on rank 0; the other ranks are
/// only told that there are pads.
FeederOptions with_pads(FeederOptions options, const RunConfig& config, const RunSetup& setup) {
  if (config.ignore_pad_token_for_loss || config.stage != "sft") return options;
  options.padding.counted_id = setup.tokenizer ? setup.tokenizer->pad_id().value_or(0) : 0;
  return options;
}

/// The sources to evaluate on are those that rank 0 found: a tokenized_path may hold others than the keys name.
void share_names(Communicator& comm, RunSetup& setup) {
  std::string text;
  for (const auto& source : setup.eval_sources) text += source.name + "\n";
  text = broadcast_string(comm, std::move(text));
  if (comm.rank() == 0) return;
  for (std::size_t begin = 0; begin < text.size(); begin = text.find('\n', begin) + 1) {
    setup.eval_sources.push_back({text.substr(begin, text.find('\n', begin) - begin), nullptr, nullptr});
  }
}

}  // namespace

std::string on_rank0(Communicator& comm, std::string_view what, const std::function<std::string()>& produce) {
  std::string text;
  on_all_ranks(comm, what, [&] {
    if (comm.rank() == 0) text = produce();
  });
  return broadcast_string(comm, std::move(text));
}

std::filesystem::path cache_folder() {
  if (const char* chosen = std::getenv("DSTRAIN_CACHE")) return chosen;
  if (const char* xdg = std::getenv("XDG_CACHE_HOME")) return std::filesystem::path(xdg) / "dstrain";
  if (const char* home = std::getenv("HOME")) return std::filesystem::path(home) / ".cache" / "dstrain";
  return std::filesystem::temp_directory_path() / "dstrain";
}

RunSetup open_run_data(const RunConfig& config) {
  RunSetup setup;
  open_model_files(config, setup);
  open_rows(config, 1, setup, true);
  return setup;
}

RunSetup setup_run(Communicator& comm, const RunConfig& config, bool read_data) {
  RunSetup setup;
  const auto spec_text = on_rank0(comm, "open model and data", [&] {
    open_model_files(config, setup);
    open_rows(config, comm.size(), setup, read_data);
    open_prompts(config, setup, read_data);
    return setup.spec.config_json;
  });
  if (comm.rank() != 0) setup.spec = parse_model_spec(spec_text, "config.json");
  setup.tuning = setup_tuning(comm, config, setup.spec);
  std::int64_t prompts[] = {setup.prompt_count, setup.longest_prompt};
  comm.broadcast(View(std::span<std::int64_t>(prompts)), 0, {}, "prompts");
  setup.prompt_count = prompts[0];
  setup.longest_prompt = prompts[1];
  if (trains(config)) {
    setup.feeder = std::make_unique<Feeder>(comm, setup.row_source.get(),
                                            with_pads(feeder_options(config, comm.size()), config, setup));
  }
  share_names(comm, setup);
  for (auto& source : setup.eval_sources) {
    if (!runs_evaluation(config)) continue;
    source.feeder = std::make_unique<Feeder>(comm, source.rows.get(),
                                             with_pads(eval_feeder_options(config, comm.size()), config, setup));
  }
  return setup;
}

}  // namespace dstrain
