// SPDX-License-Identifier: Apache-2.0
#include "data/dataset.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <numeric>

#include "config/run_config.hpp"
#include "core/error.hpp"
#include "core/log.hpp"
#include "data/parsed_template.hpp"
#include "data/row_maker.hpp"
#include "data/selected_rows.hpp"
#include "data/streamed_rows.hpp"
#include "data/tokenized_folder.hpp"
#include "io/files/digest.hpp"

namespace dstrain {
namespace {

/// Changes whenever the same inputs would give other rows: part of every digest.
constexpr const char* encoding_version = "4";

std::string describe(const DatasetOptions& o) {
  const auto text = [](const std::optional<std::string>& value) { return value ? "=" + *value : std::string("-"); };
  const auto thinking = o.chat.enable_thinking ? (*o.chat.enable_thinking ? "true" : "false") : "null";
  return fmt::format("stage {} cutoff {} prompt {} history {} packing {} {} neat {} group {} template {}",
                     static_cast<int>(o.encode.stage), o.encode.cutoff_len, o.encode.train_on_prompt,
                     o.encode.mask_history, o.encode.packing, o.encode.packing_written, o.encode.neat_packing,
                     o.encode.preprocessing_batch_size, o.template_name) +
         fmt::format(" system {} tools {} thinking {} preserve {}", text(o.chat.default_system),
                     text(o.chat.tool_format), thinking, o.chat.preserve_thinking);
}

/// A template that was read out of a chat_template may hold a date: its texts count, not only its name.
std::string describe(const TemplateSpec& spec) {
  std::string out = spec.name;
  for (const Slots* slots : {&spec.system, &spec.user, &spec.assistant}) {
    for (const Slot& slot : *slots) out += fmt::format(" {}:{}", slot.text.size(), slot.text);
  }
  return out;
}

/// The template that is named; else the tokenizer's own, else `empty`.
Template choose_template(const DatasetOptions& options, const TokenizerFiles& files, const Tokenizer& tokenizer) {
  if (!options.template_name.empty()) return Template(options.template_name, options.chat);
  const auto source = chat_template_source(files);
  if (!source) {
    log::warning("no template is named, and the tokenizer has no chat_template: `empty` trains on the text as it is");
    return Template("empty", options.chat);
  }
  log::warning("no template is named: the slots are read out of the tokenizer's chat_template");
  return Template(parse_chat_template(*source, tokenizer), options.chat);
}

/// Digest of all that shapes rows, but the datasets.
std::string base_digest(const DatasetOptions& options, const Template& chat, const TokenizerFiles& files,
                        const TokenizerOptions& tokenizer_options) {
  Digest digest;
  add_part(digest, "encoding", encoding_version);
  add_part(digest, "options", describe(options));
  add_part(digest, "template", describe(chat.spec()));
  add_part(
      digest, "tokenizer",
      fmt::format("fast {} split {}", tokenizer_options.use_fast_tokenizer, tokenizer_options.split_special_tokens));
  for (const auto& token : tokenizer_options.add_tokens) add_part(digest, "added token", token);
  for (const auto& token : tokenizer_options.add_special_tokens) add_part(digest, "added special token", token);
  for (const auto& [name, bytes] : files) add_part(digest, name, bytes);
  return digest.hex();
}

Stage stage_of(const std::string& word) {
  if (word == "sft") return Stage::sft;
  if (word == "pt") return Stage::pt;
  if (word == "rm" || word == "dpo") return Stage::rm;
  if (word == "kto") return Stage::kto;
  if (word == "ppo") return Stage::ppo;
  throw ConfigError(fmt::format("stage {} is not known", word), "stage", "use pt, sft, rm, ppo, dpo or kto");
}

std::vector<double> probabilities_of(const std::vector<std::string>& words) {
  std::vector<double> out;
  for (const auto& word : words) {
    double value = 0.0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc{} || end != word.data() + word.size() || !(value >= 0.0 && value <= 1.0)) {
      throw ConfigError(fmt::format("\"{}\" is no probability", word), "interleave_probs", "use numbers from 0 to 1");
    }
    out.push_back(value);
  }
  return out;
}

/// Training rows and rows to evaluate on, each processed as a whole.
void open_rows(const DatasetOptions& options, RowMaker& maker, Dataset& out) {
  if (!options.dataset.empty()) {
    auto made = maker.make(options.dataset);
    out.from_cache = made.from_cache;
    out.state = std::move(made.state);
    out.rows = std::move(made.rows);
  }
  for (const auto& name : options.eval_dataset.empty() ? std::vector<std::string>{} : eval_source_names(options)) {
    out.eval_rows.push_back(
        {name, maker.make(name.empty() ? options.eval_dataset : std::vector<std::string>{name}).rows});
  }
  if (out.rows && options.val_size > 0.0) {
    auto [train, validation] = split_source(std::move(out.rows), options.val_size, options.seed);
    out.rows = std::move(train);
    out.eval_rows.push_back({"", std::move(validation)});
  }
}

/// Training rows that come while they are used. What is evaluated is kept, in the order in which the stream has it.
void open_streams(const DatasetOptions& options, RowMaker& maker, const Template& chat, Dataset& out) {
  DatasetOptions kept = options;
  kept.dataset.clear();
  kept.val_size = 0.0;
  open_rows(kept, maker, out);
  for (auto& [name, rows] : out.eval_rows)
    rows = shuffle_source(std::move(rows), options.stream.buffer_size, options.seed);
  if (options.dataset.empty()) return;
  auto inputs = std::make_shared<StreamInputs>(StreamInputs{maker.open(options.dataset), maker.mix(), options.encode,
                                                            out.tokenizer, chat, maker.facts(), options.threads});
  out.state = maker.state_of(inputs->sources);
  StreamOptions stream = options.stream;
  if (options.val_size > 0.0) {
    stream.skipped = static_cast<std::int64_t>(options.val_size);
    out.eval_rows.push_back({"", first_rows(inputs, stream.buffer_size, stream.skipped, out.state.rows)});
  }
  out.rows = std::make_unique<StreamedRows>(std::move(inputs), stream);
}

}  // namespace

DatasetOptions dataset_options(const RunConfig& config) {
  DatasetOptions options;
  options.dataset = config.dataset;
  options.eval_dataset = config.eval_dataset;
  options.eval_on_each_dataset = config.eval_on_each_dataset;
  options.val_size = config.val_size > 1e-6 ? config.val_size : 0.0;
  options.seed = static_cast<std::uint64_t>(config.seed);
  options.dataset_dir = config.dataset_dir;
  // What pt makes of a text does not depend on a template.
  options.template_name = config.template_name.value_or(config.stage == "pt" ? "empty" : "");
  options.chat = {.default_system = config.default_system,
                  .tool_format = config.tool_format,
                  .enable_thinking = config.enable_thinking,
                  .preserve_thinking = config.preserve_thinking,
                  .date = std::nullopt};
  options.max_samples = config.max_samples;
  options.threads = config.preprocessing_num_workers.value_or(0);
  if (config.tokenized_path) options.tokenized_path = *config.tokenized_path;
  options.streaming = config.streaming;
  options.stream.buffer_size = static_cast<std::size_t>(config.buffer_size);
  options.mix_strategy = mix_strategy(config.mix_strategy);
  options.interleave_probs = probabilities_of(config.interleave_probs);
  if (config.data_split) options.data_split = parse_data_split(*config.data_split);
  EncodeOptions& encode = options.encode;
  encode.stage = stage_of(config.stage);
  encode.cutoff_len = config.cutoff_len;
  encode.train_on_prompt = config.train_on_prompt;
  encode.mask_history = config.mask_history;
  encode.packing = config.packing.value_or(encode.stage == Stage::pt);
  encode.packing_written = config.packing.value_or(false) || config.neat_packing;
  encode.neat_packing = config.neat_packing;
  encode.preprocessing_batch_size = config.preprocessing_batch_size;
  return options;
}

TokenizerOptions tokenizer_options(const RunConfig& config) {
  return {.use_fast_tokenizer = config.use_fast_tokenizer,
          .split_special_tokens = config.split_special_tokens,
          .add_tokens = config.add_tokens,
          .add_special_tokens = config.add_special_tokens};
}

Tokenizer prepared_tokenizer(const DatasetOptions& options, const TokenizerFiles& files,
                             const TokenizerOptions& tokenizer_options) {
  Tokenizer tokenizer = load_tokenizer(files, tokenizer_options);
  choose_template(options, files, tokenizer).fix_tokenizer(tokenizer);
  return tokenizer;
}

std::vector<std::string> eval_source_names(const DatasetOptions& options) {
  if (options.eval_dataset.empty()) {
    return options.val_size > 0.0 ? std::vector<std::string>{""} : std::vector<std::string>{};
  }
  return options.eval_on_each_dataset ? options.eval_dataset : std::vector<std::string>{""};
}

Dataset open_dataset(const DatasetOptions& options, const TokenizerFiles& files,
                     const TokenizerOptions& tokenizer_options) {
  if (options.dataset.empty() && options.eval_dataset.empty()) throw ConfigError("names no dataset", "dataset");
  Dataset out{.rows = nullptr, .eval_rows = {}, .tokenizer = load_tokenizer(files, tokenizer_options)};
  const Template chat = choose_template(options, files, out.tokenizer);
  out.added_tokens = chat.fix_tokenizer(out.tokenizer);
  const RowKind kind = row_kind(options.encode.stage);
  if (options.tokenized_path && has_tokenized_rows(*options.tokenized_path)) {
    load_tokenized_rows(*options.tokenized_path, kind, out.tokenizer.vocab_size(), out);
    return out;
  }
  if (options.tokenized_path && options.streaming) {
    throw ConfigError("Turn off `streaming` when saving dataset to disk.", "tokenized_path");
  }
  RowMaker maker(options, out.tokenizer, chat, base_digest(options, chat, files, tokenizer_options));
  if (options.streaming) {
    open_streams(options, maker, chat, out);
    return out;
  }
  open_rows(options, maker, out);
  if (options.tokenized_path) save_tokenized_rows(*options.tokenized_path, out);
  return out;
}

}  // namespace dstrain
