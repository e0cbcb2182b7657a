// SPDX-License-Identifier: Apache-2.0
#include "data/dataset_reader.hpp"

#include <algorithm>
#include <limits>

#include "core/error.hpp"
#include "data/for_each_in_parallel.hpp"
#include "data/row_values.hpp"

namespace dstrain {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> dataset_paths(const DatasetDescription& description, const fs::path& dataset_dir) {
  const fs::path path = dataset_dir / description.file_name;
  std::vector<fs::path> paths;
  if (fs::is_directory(path)) {
    for (const auto& entry : fs::directory_iterator(path)) {
      if (entry.is_regular_file()) paths.push_back(entry.path());
    }
    std::sort(paths.begin(), paths.end());
  } else if (fs::is_regular_file(path)) {
    paths.push_back(path);
  }
  if (paths.empty()) throw ConfigError(fmt::format("File {} not found.", description.file_name), path.string());
  return paths;
}

/// A file type that other programs read, with the command that makes one that is read here.
void refuse_columnar(const fs::path& file) {
  const std::string extension = file.extension().string();
  if (extension != ".parquet" && extension != ".arrow") return;
  const std::string type = extension.substr(1);
  throw ConfigError(fmt::format("{} files are not read", type), file.string(),
                    fmt::format("convert it: python -c \"import datasets; datasets.load_dataset('{}', data_files='{}')"
                                "['train'].to_json('{}.jsonl', force_ascii=False)\"",
                                type, file.filename().string(), file.stem().string()));
}

}  // namespace

DatasetSource open_dataset_files(DatasetDescription description, const fs::path& dataset_dir) {
  DatasetSource out{std::move(description), {}};
  const auto paths = dataset_paths(out.description, dataset_dir);
  for (const auto& path : paths) {
    refuse_columnar(path);
    if (!row_file_type(path)) throw ConfigError("Allowed file types: csv, json, jsonl, txt.", path.string());
    if (row_file_type(path) != row_file_type(paths.front())) {
      throw ConfigError("File types should be identical.", path.parent_path().string());
    }
    out.files.push_back(std::make_unique<RowFile>(path));
  }
  return out;
}

std::vector<Sample> to_samples(const std::vector<RawRow>& rows, int threads) {
  std::vector<Sample> samples(rows.size());
  for_each_in_parallel(rows.size(), threads, [&](std::size_t i) {
    thread_local simdjson::dom::parser parser;
    const RawRow& row = rows[i];
    read_row(*row.file, row.offset, row.text, parser,
             [&](const RowValues& values) { samples[i] = to_sample(values, row.source->description); });
  });
  return samples;
}

bool DatasetCursor::next(RawRow& out) {
  for (; file_ < source_->files.size(); ++file_) {
    const RowFile& file = *source_->files[file_];
    if (!cursor_) cursor_.emplace(file);
    if (const auto row = cursor_->next()) {
      out = {source_, &file, row->offset, std::string(row->text)};
      return true;
    }
    cursor_.reset();
  }
  file_ = 0;
  return false;
}

DatasetReader::DatasetReader(const std::vector<DatasetSource>& sources, const MixOptions& options,
                             NumpyLegacyRandom& random)
    : sources_(sources), options_(options) {
  const bool resampled =
      std::any_of(sources.begin(), sources.end(), [](const auto& s) { return s.description.num_samples.has_value(); });
  indexed_ =
      resampled || !options.data_split.empty() || (options.strategy != MixStrategy::concat && sources.size() > 1);
  if (indexed_) index(sources, random);
}

void DatasetReader::index(const std::vector<DatasetSource>& sources, NumpyLegacyRandom& random) {
  std::vector<std::uint32_t> lengths;
  for (const auto& source : sources) {
    auto& places = places_.emplace_back();
    for (std::size_t f = 0; f < source.files.size(); ++f) {
      RowCursor cursor(*source.files[f]);
      while (const auto row = cursor.next()) {
        places.push_back({row->offset, static_cast<std::uint32_t>(row->text.size()), static_cast<std::uint32_t>(f)});
      }
    }
    if (places.size() > std::numeric_limits<std::uint32_t>::max())
      throw ConfigError(fmt::format("{} rows are too many", places.size()), source.description.name);
    if (const auto count = source.description.num_samples) {
      const auto picked =
          resample_rows(static_cast<std::uint32_t>(places.size()), static_cast<std::size_t>(*count), random);
      std::vector<RowPlace> resampled;
      for (const auto row : picked) resampled.push_back(places[row]);
      places = std::move(resampled);
    }
    if (options_.max_samples && std::ssize(places) > *options_.max_samples) {
      places.resize(static_cast<std::size_t>(*options_.max_samples));
    }
    lengths.push_back(static_cast<std::uint32_t>(places.size()));
  }
  if (!options_.data_split.empty()) {
    order_ = blend_first_shares(options_.data_split, lengths, static_cast<std::uint32_t>(options_.seed));
    return;
  }
  order_ = mix_rows(lengths, options_.strategy, options_.probabilities, options_.seed);
}

bool DatasetReader::next_in_order(RawRow& out) {
  if (at_ == order_.size()) return false;
  const auto [dataset, row] = order_[at_++];
  const DatasetSource& source = sources_[dataset];
  const RowPlace& place = places_[dataset][row];
  const RowFile& file = *source.files[place.file];
  out = {&source, &file, place.offset, file.read(place.offset, place.bytes)};
  return true;
}

bool DatasetReader::next_in_files(RawRow& out) {
  for (; dataset_ < sources_.size(); ++dataset_) {
    if (!cursor_) cursor_.emplace(sources_[dataset_]);
    if (taken_ < options_.max_samples.value_or(std::numeric_limits<std::int64_t>::max()) && cursor_->next(out)) {
      ++taken_;
      return true;
    }
    cursor_.reset();
    taken_ = 0;
  }
  return false;
}

std::vector<RawRow> DatasetReader::next(std::size_t count) {
  std::vector<RawRow> rows;
  for (RawRow row; rows.size() < count && (indexed_ ? next_in_order(row) : next_in_files(row));) {
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace dstrain
