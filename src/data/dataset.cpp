// SPDX-License-Identifier: Apache-2.0
#include "data/dataset.hpp"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <numeric>

#include "config/run_config.hpp"
#include "core/error.hpp"
#include "core/log.hpp"
#include "data/dataset_reader.hpp"
#include "data/parsed_template.hpp"
#include "data/selected_rows.hpp"
#include "data/token_store.hpp"
#include "io/files/digest.hpp"
#include "io/files/file.hpp"

namespace dstrain {
namespace {

/// Changes whenever the same inputs would give other rows: part of every digest.
constexpr const char* encoding_version = "2";

struct SourceDataset {
  DatasetDescription description;
  std::vector<DatasetFile> files;
};

std::vector<SourceDataset> read_sources(const DatasetOptions& options, const std::vector<std::string>& names) {
  const std::string dir = options.dataset_dir.string();
  if (dir == "ONLINE" || dir.starts_with("REMOTE:")) {
    throw ConfigError(fmt::format("dataset_dir: {} means a hub, which is not reached at run time", dir), "dataset_dir",
                      "download the data and name its folder");
  }
  const auto info_path = options.dataset_dir / "dataset_info.json";
  std::ifstream info(info_path, std::ios::binary);
  if (!info) throw ConfigError(fmt::format("Cannot open {}", info_path.string()), "dataset_dir");
  const std::string text{std::istreambuf_iterator<char>(info), {}};
  std::vector<SourceDataset> sources;
  for (const auto& name : names) {
    auto description = find_dataset(text, name, info_path.string());
    if (description.ranking || description.kto) {
      throw ConfigError("The dataset is not applicable in the current training stage.",
                        fmt::format("dataset {}", name));
    }
    auto files = read_dataset_files(description, options.dataset_dir);
    sources.push_back({std::move(description), std::move(files)});
  }
  return sources;
}

std::string describe(const DatasetOptions& o) {
  return fmt::format("stage {} cutoff {} prompt {} history {} packing {} neat {} group {} template {} max {}",
                     static_cast<int>(o.encode.stage), o.encode.cutoff_len, o.encode.train_on_prompt,
                     o.encode.mask_history, o.encode.packing, o.encode.neat_packing, o.encode.preprocessing_batch_size,
                     o.template_name, o.max_samples.value_or(-1));
}

/// The date stands in the rows of samples with tools only: without a column of tools, tomorrow's rows are today's.
std::string describe(const TemplateOptions& o, const Template& chat, const std::vector<SourceDataset>& sources) {
  const auto text = [](const std::optional<std::string>& value) { return value ? "=" + *value : std::string("-"); };
  const bool dated = chat.tells_the_date() && std::any_of(sources.begin(), sources.end(), [](const SourceDataset& s) {
                       return s.description.columns.tools.has_value();
                     });
  // A template that was read out of a chat_template may hold a date of its own: its texts count.
  std::string slots;
  for (const Slots* list : {&chat.spec().system, &chat.spec().user, &chat.spec().assistant}) {
    for (const Slot& slot : *list) slots += fmt::format(" {}:{}", slot.text.size(), slot.text);
  }
  return slots + fmt::format(" system {} tools {} thinking {} preserve {} date {}", text(o.default_system),
                             text(o.tool_format), o.enable_thinking ? (*o.enable_thinking ? "true" : "false") : "null",
                             o.preserve_thinking, dated ? chat.date() : "-");
}

std::string describe(const DatasetDescription& d) {
  std::string out = fmt::format("{} {} {}", d.name, d.file_name, static_cast<int>(d.formatting));
  const DatasetColumns& c = d.columns;
  for (const auto* column : {&c.prompt, &c.query, &c.response, &c.history, &c.messages, &c.system, &c.tools}) {
    out += *column ? fmt::format(" ={}:{}", (*column)->size(), **column) : " -";
  }
  const DatasetTags& t = d.tags;
  for (const auto* tag : {&t.role_tag, &t.content_tag, &t.user_tag, &t.assistant_tag, &t.observation_tag,
                          &t.function_tag, &t.system_tag}) {
    out += fmt::format(" {}:{}", tag->size(), *tag);
  }
  return out;
}

/// Adds a named part; lengths are part of the digest, so that parts cannot run into each other.
void add_part(Digest& digest, std::string_view name, std::string_view bytes) {
  for (const std::string_view part : {name, bytes}) {
    const auto size = static_cast<std::int64_t>(part.size());
    digest.add(&size, sizeof size);
    digest.add(part.data(), size);
  }
}

std::string content_digest(const DatasetOptions& options, const Template& chat,
                           const std::vector<SourceDataset>& sources, const TokenizerFiles& files,
                           const TokenizerOptions& tokenizer_options) {
  Digest digest;
  add_part(digest, "encoding", encoding_version);
  add_part(digest, "options", describe(options));
  add_part(digest, "template", describe(options.chat, chat, sources));
  add_part(
      digest, "tokenizer",
      fmt::format("fast {} split {}", tokenizer_options.use_fast_tokenizer, tokenizer_options.split_special_tokens));
  for (const auto& [name, bytes] : files) add_part(digest, name, bytes);
  for (const auto& source : sources) {
    add_part(digest, "dataset", describe(source.description));
    for (const auto& file : source.files) add_part(digest, file.path.filename().string(), file.bytes);
  }
  return digest.hex();
}

std::unique_ptr<RowSource> open_cache(const std::filesystem::path& path, const std::string& digest) {
  if (!std::filesystem::exists(path)) return nullptr;
  try {
    return TokenStore::open(path, digest);
  } catch (const IoError& e) {
    log::warning("{} ({}); the data is tokenised again", e.what(), e.where());
    return nullptr;
  }
}

std::vector<std::byte> encode_image(const DatasetOptions& options, std::vector<SourceDataset> sources,
                                    const Tokenizer& tokenizer, const Template& chat, const std::string& digest) {
  std::vector<Sample> samples;
  for (auto& source : sources) {
    auto rows = read_samples(source.description, source.files, options.max_samples);
    source.files.clear();  // the samples hold the text now
    std::move(rows.begin(), rows.end(), std::back_inserter(samples));
  }
  TokenStoreContent content;
  content.encoded = encode_samples(samples, tokenizer, chat, options.encode, options.threads);
  content.vocab_size = tokenizer.vocab_size();
  const bool packed = options.encode.packing || options.encode.neat_packing;
  content.padded_row_len = packed ? options.encode.cutoff_len : 0;
  content.separate_samples = options.encode.neat_packing;
  if (content.encoded.invalid > 0) log::warning("Dropped {} invalid examples.", content.encoded.invalid);
  if (content.encoded.rows.empty()) {
    throw ConfigError("Cannot find valid samples, check `data/README.md` for the data format.", "dataset",
                      fmt::format("{} samples were read; look at the columns of dataset_info.json", samples.size()));
  }
  return TokenStore::make_image(content, digest);
}

void write_cache(const std::filesystem::path& path, std::span<const std::byte> image) {
  try {
    create_folder(path.parent_path());
    // The process in the name: two runs that make the same cache do not write into each other's file.
    const std::filesystem::path temporary = fmt::format("{}.{}.part", path.string(), ::getpid());
    {
      const auto file = create_to_write(temporary);
      write_at(file, 0, image.data(), std::ssize(image), temporary);
      sync_file(file, temporary);
    }
    rename_path(temporary, path);
    sync_folder(path.parent_path());
  } catch (const IoError& e) {
    log::warning("the token cache is not kept: {} ({})", e.what(), e.where());
  }
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

/// One list of datasets to rows: from the cache, or anew.
struct RowMaker {
  struct Made {
    std::unique_ptr<RowSource> rows;
    bool from_cache = false;
    std::string digest;
  };

  const DatasetOptions& options;
  const TokenizerFiles& files;
  const TokenizerOptions& tokenizer_options;
  const Tokenizer& tokenizer;
  const Template& chat;

  [[nodiscard]] Made make(const std::vector<std::string>& names) const {
    auto sources = read_sources(options, names);
    Made out;
    out.digest = content_digest(options, chat, sources, files, tokenizer_options);
    std::filesystem::path path;
    if (options.cache_dir) {
      path = *options.cache_dir / (out.digest + ".dstok");
      out.rows = open_cache(path, out.digest);
      out.from_cache = out.rows != nullptr;
      if (out.from_cache) return out;
    }
    auto image = encode_image(options, std::move(sources), tokenizer, chat, out.digest);
    if (options.cache_dir) write_cache(path, image);
    out.rows = TokenStore::from_image(std::move(image), out.digest);
    return out;
  }
};

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
  if (config.stage != "sft" && config.stage != "pt") {
    throw ConfigError(fmt::format("stage {} is not part of this version", config.stage), "stage", "use sft or pt");
  }
  EncodeOptions& encode = options.encode;
  encode.stage = config.stage == "pt" ? Stage::pt : Stage::sft;
  encode.cutoff_len = config.cutoff_len;
  encode.train_on_prompt = config.train_on_prompt;
  encode.mask_history = config.mask_history;
  encode.packing = config.packing.value_or(encode.stage == Stage::pt);
  encode.neat_packing = config.neat_packing;
  encode.preprocessing_batch_size = config.preprocessing_batch_size;
  return options;
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
  const RowMaker maker{options, files, tokenizer_options, out.tokenizer, chat};
  for (const auto& name : options.eval_dataset.empty() ? std::vector<std::string>{} : eval_source_names(options)) {
    out.eval_rows.push_back(
        {name, maker.make(name.empty() ? options.eval_dataset : std::vector<std::string>{name}).rows});
  }
  if (options.dataset.empty()) return out;
  auto made = maker.make(options.dataset);
  out.from_cache = made.from_cache;
  out.digest = std::move(made.digest);
  out.rows = std::move(made.rows);
  if (options.val_size > 0.0) {
    auto [train, validation] = split_source(std::move(out.rows), options.val_size, options.seed);
    out.rows = std::move(train);
    out.eval_rows.push_back({"", std::move(validation)});
  }
  return out;
}

RenderedRow render_row(const RowView& row, const Tokenizer& tokenizer) {
  std::vector<std::int32_t> labels;
  std::copy_if(row.labels.begin(), row.labels.end(), std::back_inserter(labels),
               [](std::int32_t l) { return l != ignore_label; });
  return {tokenizer.decode(row.input_ids), tokenizer.decode(labels)};
}

std::vector<std::int32_t> position_ids(const RowView& row) {
  std::vector<std::int32_t> positions(row.input_ids.size());
  auto at = positions.begin();
  for (const std::int32_t length : row.sample_lens) {
    std::iota(at, at + length, 0);
    at += length;
  }
  std::iota(at, positions.end(), 0);  // a row that is not packed
  return positions;
}

}  // namespace dstrain
