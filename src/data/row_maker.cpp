// SPDX-License-Identifier: Apache-2.0
#include "data/row_maker.hpp"

#include <unistd.h>

#include <algorithm>

#include "core/error.hpp"
#include "core/log.hpp"
#include "data/dataset_guess.hpp"
#include "data/token_store.hpp"
#include "io/files/file.hpp"

namespace dstrain {
namespace {

constexpr std::int64_t most_problems_shown = 10;
/// Rows that keep all threads of a node busy between two reads.
constexpr std::size_t least_chunk = 1024;
constexpr std::int64_t most_info_bytes = std::int64_t{64} << 20;

std::unique_ptr<RowSource> open_cache(const std::filesystem::path& path, const std::string& digest) {
  if (!std::filesystem::exists(path)) return nullptr;
  try {
    return TokenStore::open(path, digest);
  } catch (const IoError& e) {
    log::warning("{} ({}); the data is tokenised again", e.what(), e.where());
    return nullptr;
  }
}

/// The text of dataset_info.json; an empty object where it is not there and every name is that of a file.
std::string read_info(const std::filesystem::path& path, const std::vector<std::string>& names) {
  const bool files = std::all_of(names.begin(), names.end(), [](const std::string& name) {
    std::error_code error;
    return std::filesystem::exists(name, error);
  });
  if (files && !std::filesystem::exists(path)) return "{}";
  try {
    return read_file(path, most_info_bytes);
  } catch (const IoError& e) {
    throw ConfigError(fmt::format("Cannot open {} due to {}.", path.string(), e.what()), "dataset_dir");
  }
}

void check_stage(const DatasetDescription& description, Stage stage) {
  if (description.ranking == (stage == Stage::rm)) return;
  throw ConfigError("The dataset is not applicable in the current training stage.",
                    fmt::format("dataset {}", description.name),
                    stage == Stage::rm ? "rm and dpo need a dataset with ranking: true"
                                       : "a dataset with ranking: true is for the stages rm and dpo");
}

}  // namespace

RowKind row_kind(Stage stage) {
  switch (stage) {
    case Stage::rm:
      return RowKind::pair;
    case Stage::kto:
      return RowKind::feedback;
    case Stage::ppo:
      return RowKind::prompt;
    default:
      return RowKind::plain;
  }
}

std::size_t chunk_samples(const EncodeOptions& options) {
  const auto group = static_cast<std::size_t>(std::max(options.preprocessing_batch_size, 1));
  return (least_chunk + group - 1) / group * group;
}

void SampleProblems::note(const std::vector<Sample>& samples) {
  for (const auto& sample : samples) {
    if (!sample.problem.empty() && ++count_ <= most_problems_shown)
      log::warning("{}; the sample is skipped.", sample.problem);
  }
}

SampleProblems::~SampleProblems() {
  if (count_ > most_problems_shown) log::warning("{} more samples are skipped.", count_ - most_problems_shown);
}

RowMaker::RowMaker(const DatasetOptions& options, const Tokenizer& tokenizer, const Template& chat,
                   std::string base_digest)
    : options_(options),
      tokenizer_(tokenizer),
      chat_(chat),
      base_digest_(std::move(base_digest)),
      random_(static_cast<std::uint32_t>(options.seed)) {}

std::vector<DatasetSource> RowMaker::open(const std::vector<std::string>& names) const {
  const std::string dir = options_.dataset_dir.string();
  if (dir == "ONLINE" || dir.starts_with("REMOTE:")) {
    throw ConfigError(fmt::format("dataset_dir: {} means a hub, which is not reached at run time", dir), "dataset_dir",
                      "download the data and name its folder");
  }
  const auto info_path = options_.dataset_dir / "dataset_info.json";
  std::optional<std::string> info;
  std::vector<DatasetSource> sources;
  for (const auto& name : names) {
    if (!info) info = read_info(info_path, names);
    // A name of dataset_info.json comes before a file of that name.
    std::optional<DatasetDescription> description;
    if (!names_dataset(*info, name)) {
      description = guess_dataset(name, options_.dataset_dir,
                                  {.pairs = options_.encode.stage == Stage::rm,
                                   .plain_text = options_.encode.stage == Stage::pt,
                                   .deepspeed_chat = options_.template_name == "deepspeed_chat"});
    }
    if (!description) description = find_dataset(*info, name, info_path.string());
    check_stage(*description, options_.encode.stage);
    sources.push_back(open_dataset_files(std::move(*description), options_.dataset_dir));
  }
  return sources;
}

MixOptions RowMaker::mix() const {
  return {options_.mix_strategy, options_.interleave_probs, options_.seed, options_.max_samples, options_.data_split};
}

TokenImageFacts RowMaker::facts() const {
  const EncodeOptions& encode = options_.encode;
  TokenImageFacts facts;
  facts.vocab_size = tokenizer_.vocab_size();
  const bool packs = encode.stage == Stage::pt ? encode.packing
                                               : encode.stage == Stage::sft && (encode.packing || encode.neat_packing);
  // sft pads a packed row to the whole cutoff_len; blocks of pt are full.
  if (packs) {
    facts.padded_row_len =
        static_cast<std::int32_t>(encode.stage == Stage::pt ? effective_cutoff_len(encode) : encode.cutoff_len);
  }
  facts.kind = row_kind(encode.stage);
  facts.separate_samples = encode.neat_packing;
  return facts;
}

DataState RowMaker::state_of(const std::vector<DatasetSource>& sources) const {
  DataState state;
  state.files = fingerprints(sources);
  Digest digest;
  add_part(digest, "base", base_digest_);
  const MixOptions mix = this->mix();
  std::string order = fmt::format("{} {}", static_cast<int>(mix.strategy), mix.max_samples.value_or(-1));
  if (mix.strategy != MixStrategy::concat) {
    order += fmt::format(" {}", mix.seed);
    for (const double p : mix.probabilities) order += fmt::format(" {}", p);
  }
  for (const auto& shares : mix.data_split) {
    order += fmt::format(" split {}", mix.seed);
    for (const double share : shares) order += fmt::format(" {}", share);
  }
  for (const auto& source : sources) {
    if (source.description.num_samples) order += fmt::format(" {} {}", options_.seed, resampled_before_);
    add_part(digest, "dataset", describe(source.description));
  }
  // The date stands in the rows of samples with tools only: without a column of tools, tomorrow's rows are today's.
  const bool has_tools = std::any_of(sources.begin(), sources.end(),
                                     [](const auto& s) { return s.description.columns.tools.has_value(); });
  if (has_tools && chat_.tells_the_date()) add_part(digest, "date", chat_.date());
  add_part(digest, "order", order);
  for (const auto& [name, file] : state.files) add_part(digest, name, file);
  state.rows = digest.hex();
  return state;
}

RowMaker::Made RowMaker::make(const std::vector<std::string>& names) {
  const auto sources = open(names);
  Made out;
  out.state = state_of(sources);
  const NumpyLegacyRandom before = random_;
  for (const auto& source : sources) {
    if (!source.description.num_samples) continue;
    // What comes later draws from here on, whether these rows come from the cache or not.
    std::int64_t rows = 0;
    DatasetCursor cursor(source);
    for (RawRow row; cursor.next(row);) ++rows;
    resample_rows(static_cast<std::uint32_t>(rows), static_cast<std::size_t>(*source.description.num_samples), random_);
    resampled_before_ += fmt::format("{}:{} ", rows, *source.description.num_samples);
  }
  const std::string& digest = out.state.rows;
  if (options_.cache_dir) {
    const auto path = *options_.cache_dir / (digest + ".dstok");
    out.rows = open_cache(path, digest);
    out.from_cache = out.rows != nullptr;
    if (!out.rows) out.rows = make_file(sources, before, path, digest);
  }
  if (!out.rows) out.rows = make_image(sources, before, digest);
  return out;
}

/// Tokenises into the cache; none where the cache cannot be written.
std::unique_ptr<RowSource> RowMaker::make_file(const std::vector<DatasetSource>& sources,
                                               const NumpyLegacyRandom& random, const std::filesystem::path& path,
                                               const std::string& digest) const {
  // The process in the name: two runs that make the same cache do not write into each other's file.
  const std::filesystem::path temporary = fmt::format("{}.{}.part", path.string(), ::getpid());
  try {
    create_folder(path.parent_path());
    NumpyLegacyRandom draws = random;
    DatasetReader reader(sources, mix(), draws);
    TokenImageWriter writer(temporary);
    write(reader, writer, digest, nullptr);
    rename_path(temporary, path);
    sync_folder(path.parent_path());
    return TokenStore::open(path, digest);
  } catch (const IoError& e) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    log::warning("the token cache is not kept: {} ({})", e.what(), e.where());
    return nullptr;
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw;
  }
}

std::unique_ptr<RowSource> RowMaker::make_image(const std::vector<DatasetSource>& sources, NumpyLegacyRandom random,
                                                const std::string& digest) const {
  DatasetReader reader(sources, mix(), random);
  TokenImageWriter writer;
  std::vector<std::byte> image;
  write(reader, writer, digest, &image);
  return TokenStore::from_image(std::move(image), digest);
}

void RowMaker::write(DatasetReader& reader, TokenImageWriter& writer, const std::string& digest,
                     std::vector<std::byte>* image) const {
  TokenImageFacts facts = this->facts();
  SampleProblems problems;
  std::int64_t samples = 0;
  const std::size_t chunk = chunk_samples(options_.encode);
  while (true) {
    const auto rows = reader.next(chunk);
    const auto parsed = to_samples(rows, options_.threads);
    problems.note(parsed);
    const auto encoded = encode_samples(parsed, tokenizer_, chat_, options_.encode, options_.threads, samples);
    samples += std::ssize(rows);
    for (const auto& row : encoded.rows) writer.add(row.view());
    facts.truncated += encoded.truncated;
    facts.dropped += encoded.invalid + encoded.too_long;
    if (rows.size() < chunk) break;
  }
  if (facts.dropped > 0) log::warning("Dropped {} invalid examples.", facts.dropped);
  if (writer.rows() == 0) {
    const bool pt = options_.encode.stage == Stage::pt;
    throw ConfigError(pt ? "Cannot find sufficient samples, consider increasing dataset size."
                         : "Cannot find valid samples, check `data/README.md` for the data format.",
                      "dataset",
                      fmt::format("{} samples were read; look at the columns of dataset_info.json", samples));
  }
  auto bytes = writer.finish(facts, digest);
  if (image != nullptr) *image = std::move(bytes);
}

}  // namespace dstrain
