// SPDX-License-Identifier: Apache-2.0
/// From the config's data keys to rows: files, template, encoding, cache.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset_digest.hpp"
#include "data/dataset_mix.hpp"
#include "data/encode.hpp"
#include "data/row_source.hpp"
#include "data/template.hpp"
#include "data/tokenizer.hpp"

namespace dstrain {

struct RunConfig;

/// What streaming needs beside the other data keys.
struct StreamOptions {
  std::size_t buffer_size = 16384;
  std::int64_t rows = 0;           ///< that the run takes: max_steps times the rows of a step
  std::int64_t rows_per_step = 1;  ///< rows that stay readable behind the newest one
  std::int64_t skipped = 0;        ///< first rows of every pass that are left out: val_size
  std::int64_t vocab_size = 0;     ///< of the model; 0: not checked
};

/// The data keys of a run. Names and defaults are those of the config keys.
struct DatasetOptions {
  std::vector<std::string> dataset;
  std::vector<std::string> eval_dataset;
  bool eval_on_each_dataset = false;  ///< one source of rows for each of eval_dataset, not one for all
  double val_size = 0.0;              ///< rows (above 1) or share of the rows that are kept for validation
  std::uint64_t seed = 42;            ///< of the split, of num_samples and of interleaving
  std::filesystem::path dataset_dir = "data";
  std::string template_name = "default";  ///< empty: the tokenizer's chat_template, else `empty`
  TemplateOptions chat;
  std::optional<std::int64_t> max_samples;
  MixStrategy mix_strategy = MixStrategy::concat;
  std::vector<double> interleave_probs;  ///< of each dataset; empty: in turns
  DataSplit data_split = {};             ///< DeepSpeed-Chat's; empty: every row is used
  EncodeOptions encode;
  int threads = 0;                                 ///< preprocessing_num_workers; 0: OpenMP's number
  std::optional<std::filesystem::path> cache_dir;  ///< none: tokenised anew, nothing is written
  std::optional<std::filesystem::path> tokenized_path;
  bool streaming = false;
  StreamOptions stream;  ///< with streaming; `skipped` is taken from val_size
};

/// The data keys of `config`. `cache_dir` and the sizes in `stream` are left to the caller.
/// @throws ConfigError  a stage that has no rows of this kind, or no template
DatasetOptions dataset_options(const RunConfig& config);

/// The tokenizer keys of `config`. Local.
TokenizerOptions tokenizer_options(const RunConfig& config);

/// The tokenizer that open_dataset() will work with: added tokens and those of the template in it. Local.
Tokenizer prepared_tokenizer(const DatasetOptions& options, const TokenizerFiles& files,
                             const TokenizerOptions& tokenizer_options);

/// Rows to evaluate on. The name is empty where there is one source for all.
struct NamedRows {
  std::string name;
  std::unique_ptr<RowSource> rows;
};

/// Rows with the tokenizer as the template left it (stop words added, eos and pad set).
struct Dataset {
  std::unique_ptr<RowSource> rows;   ///< to train on; none where `dataset` names nothing
  std::vector<NamedRows> eval_rows;  ///< from val_size or eval_dataset; may be empty
  Tokenizer tokenizer;
  int added_tokens = 0;  ///< tokens the template added to the vocabulary: the embedding may be too small for them
  bool from_cache = false;
  DataState state = {};  ///< of everything the training rows were made from
};

/// The names of the sources of rows that open_dataset will give for evaluation: known without reading any file.
std::vector<std::string> eval_source_names(const DatasetOptions& options);

/// Reads, tokenises and packs the datasets of a run, or maps the cache of an earlier run with the same content.
///
/// Each of `dataset` and `eval_dataset` is processed as a whole, then val_size splits the training rows.
/// Local: rank 0. A damaged cache is made again with a note; a cache that cannot be written is a note too.
/// @throws ConfigError, IoError  as the parts it calls; "Cannot find valid samples, ..." where no row is left
Dataset open_dataset(const DatasetOptions& options, const TokenizerFiles& files,
                     const TokenizerOptions& tokenizer_options = {});

/// A processed row as text, for people: the tokens, and those that carry loss.
struct RenderedRow {
  std::string text;
  std::string label_text;
};
RenderedRow render_row(const RowView& row, const Tokenizer& tokenizer);

/// The columns of a row as the compatible program hands them to its collator, by their names there.
struct RowColumns {
  std::vector<std::pair<std::string, std::vector<std::int32_t>>> lists;
  std::optional<bool> kto_tag;
};
/// Packed rows are padded to info.padded_row_len: ids with `pad_id`, labels with -100, positions with 0.
RowColumns row_columns(const RowView& row, const RowSourceInfo& info, std::optional<std::int32_t> pad_id);

/// Position ids of a row: they start again with every packed sample.
std::vector<std::int32_t> position_ids(const RowView& row);

}  // namespace dstrain
