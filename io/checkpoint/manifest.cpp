// SPDX-License-Identifier: Apache-2.0
#include "io/checkpoint/manifest.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "io/files/digest.hpp"
#include "io/files/file.hpp"

namespace dstrain {
namespace {

constexpr auto all_kinds = all_checkpoint_kinds();

void add_shard(std::string& text, const Shard& shard) {
  text += fmt::format("{{\"file\": \"{}\", \"bytes\": {}, \"frame_digest\": \"{}\", \"datasets\": {{", shard.file,
                      shard.bytes, shard.frame_digest);
  const char* comma = "\n";
  for (const auto kind : all_kinds) {
    const auto& dataset = shard.datasets[static_cast<std::size_t>(kind)];
    if (dataset.count == 0) continue;
    text += fmt::format("{} \"{}\": {{\"offset\": {}, \"count\": {}, \"slabs\": [", comma, name_of(kind),
                        dataset.offset, dataset.count);
    comma = "\n  ";
    for (const auto& slab : dataset.slabs) {
      text +=
          fmt::format("{}[{}, {}, {}, {}, \"{}\"]", comma, slab.tensor, slab.begin, slab.count, slab.at, slab.digests);
      comma = ",\n  ";
    }
    text += "]}";
    comma = ",\n";
  }
  text += "}}";
}

/// Reads members of JSON objects with a message that names what is missing.
class Fields {
 public:
  explicit Fields(const std::string& where) : where_(where) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw IoError(fmt::format("is no manifest of this format: {}", what), where_);
  }
  const nlohmann::json& member(const nlohmann::json& object, const char* key) const {
    if (!object.is_object() || !object.contains(key)) fail(fmt::format("\"{}\" is missing", key));
    return object[key];
  }
  const nlohmann::json& list(const nlohmann::json& object, const char* key) const {
    const auto& value = member(object, key);
    if (!value.is_array()) fail(fmt::format("\"{}\" is no list", key));
    return value;
  }
  std::int64_t number(const nlohmann::json& value, const char* what) const {
    constexpr auto max = (static_cast<std::uint64_t>(1) << 62) - 1;  // the sum of two still fits
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > max) fail(fmt::format("\"{}\" is no size", what));
    return value.get<std::int64_t>();
  }
  std::string text(const nlohmann::json& value, const char* what) const {
    if (!value.is_string()) fail(fmt::format("\"{}\" is no string", what));
    return value.get<std::string>();
  }
  std::string digest(const nlohmann::json& object, const char* key) const {
    auto value = text(member(object, key), key);
    if (!is_digest(value)) fail(fmt::format("\"{}\" is no digest", key));
    return value;
  }

 private:
  const std::string& where_;
};

Slab parse_slab(const nlohmann::json& row, const Manifest& manifest, CheckpointKind kind, std::int64_t dataset_count,
                const Fields& fields) {
  if (!row.is_array() || row.size() != 5) fields.fail("a slab is [tensor, begin, count, at, digests]");
  const auto tensor = fields.number(row[0], "tensor");
  if (tensor >= static_cast<std::int64_t>(manifest.tensors.size())) fields.fail("a slab of an unknown tensor");
  Slab slab{static_cast<std::int32_t>(tensor), fields.number(row[1], "begin"), fields.number(row[2], "count"),
            fields.number(row[3], "at"), fields.text(row[4], "digests")};
  const auto& info = manifest.tensors[static_cast<std::size_t>(tensor)];
  if (slab.count == 0 || slab.begin + slab.count > count_of(kind, info) || slab.at + slab.count > dataset_count) {
    fields.fail(fmt::format("a slab of \"{}\" lies outside its tensor or dataset", info.name));
  }
  const auto pieces = (slab.count + manifest.piece_count - 1) / manifest.piece_count;
  const bool good = slab.digests.size() == static_cast<std::size_t>(pieces) * digest_letters;
  for (std::int64_t i = 0; good && i < pieces; ++i) {
    const auto letters =
        std::string_view(slab.digests).substr(static_cast<std::size_t>(i) * digest_letters, digest_letters);
    if (!is_digest(letters)) fields.fail(fmt::format("a slab of \"{}\" has a malformed digest", info.name));
  }
  if (!good) fields.fail(fmt::format("a slab of \"{}\" lacks digests", info.name));
  return slab;
}

Shard parse_shard(const nlohmann::json& json, const Manifest& manifest, const Fields& fields) {
  Shard shard;
  shard.file = fields.text(fields.member(json, "file"), "file");
  if (!is_plain_file_name(shard.file)) fields.fail("a shard's file lies in another folder");
  shard.bytes = fields.number(fields.member(json, "bytes"), "bytes");
  shard.frame_digest = fields.digest(json, "frame_digest");
  const auto& datasets = fields.member(json, "datasets");
  for (const auto kind : all_kinds) {
    const std::string name(name_of(kind));
    if (!datasets.is_object() || !datasets.contains(name)) continue;
    auto& dataset = shard.datasets[static_cast<std::size_t>(kind)];
    dataset.offset = fields.number(fields.member(datasets[name], "offset"), "offset");
    dataset.count = fields.number(fields.member(datasets[name], "count"), "count");
    if (dataset.offset > shard.bytes || dataset.count > (shard.bytes - dataset.offset) / element_bytes(kind)) {
      fields.fail(fmt::format("dataset \"{}\" lies outside {}", name, shard.file));
    }
    for (const auto& row : fields.list(datasets[name], "slabs")) {
      auto slab = parse_slab(row, manifest, kind, dataset.count, fields);
      const auto end = dataset.slabs.empty() ? 0 : dataset.slabs.back().at + dataset.slabs.back().count;
      if (slab.at != end)
        fields.fail(fmt::format("the slabs of \"{}\" in {} leave a hole or overlap", name, shard.file));
      dataset.slabs.push_back(std::move(slab));
    }
    const auto end = dataset.slabs.empty() ? 0 : dataset.slabs.back().at + dataset.slabs.back().count;
    if (end != dataset.count) fields.fail(fmt::format("the slabs of \"{}\" in {} do not fill it", name, shard.file));
  }
  std::int64_t end = 0;
  for (const auto& range : frame_ranges(shard)) {
    if (range[0] < end || range[1] < range[0]) fields.fail(fmt::format("datasets of {} overlap", shard.file));
    end = range[1];
  }
  return shard;
}

void parse_files_and_metadata(const nlohmann::json& json, Manifest& manifest, const Fields& fields) {
  for (const auto& row : fields.list(json, "files")) {
    if (!row.is_array() || row.size() != 3) fields.fail("a file is [name, bytes, digest]");
    ExtraFile file{fields.text(row[0], "name"), fields.number(row[1], "bytes"), fields.text(row[2], "digest")};
    if (!is_plain_file_name(file.name)) fields.fail("a file lies in another folder");
    if (!is_digest(file.digest)) fields.fail(fmt::format("\"{}\" has a malformed digest", file.name));
    manifest.files.push_back(std::move(file));
  }
  const auto& metadata = fields.member(json, "metadata");
  if (!metadata.is_object()) fields.fail("\"metadata\" is no object");
  for (const auto& [key, value] : metadata.items()) manifest.metadata.emplace(key, fields.text(value, "metadata"));
}

void check_whole_file(const std::filesystem::path& path, std::int64_t bytes, const std::string& digest) {
  if (file_bytes(open_to_read(path), path) == bytes && digest_of_file(path) == digest) return;
  throw IoError("is damaged: it is not the file that was written", path.string(), "resume from another checkpoint");
}

}  // namespace

void check_view_file(const std::filesystem::path& folder, const Manifest& manifest) {
  check_whole_file(folder / view_name, manifest.view_bytes, manifest.view_digest);
}

void check_extra_file(const std::filesystem::path& folder, const ExtraFile& file) {
  check_whole_file(folder / file.name, file.bytes, file.digest);
}

std::string shard_name(std::size_t index, std::size_t count) {
  return fmt::format("shard-{:05}-of-{:05}.h5", index + 1, count);
}

std::vector<std::vector<SlabPlace>> places_of(const Manifest& manifest, CheckpointKind kind, const std::string& where) {
  std::vector<std::vector<SlabPlace>> places(manifest.tensors.size());
  const auto slab_at = [&](const SlabPlace& place) -> const Slab& {
    return manifest.shards[static_cast<std::size_t>(place.shard)]
        .datasets[static_cast<std::size_t>(kind)]
        .slabs[static_cast<std::size_t>(place.slab)];
  };
  for (std::size_t s = 0; s < manifest.shards.size(); ++s) {
    const auto& slabs = manifest.shards[s].datasets[static_cast<std::size_t>(kind)].slabs;
    for (std::size_t i = 0; i < slabs.size(); ++i) {
      places[static_cast<std::size_t>(slabs[i].tensor)].push_back(
          {static_cast<std::int32_t>(s), static_cast<std::int32_t>(i)});
    }
  }
  for (std::size_t t = 0; t < places.size(); ++t) {
    std::sort(places[t].begin(), places[t].end(),
              [&](const auto& a, const auto& b) { return slab_at(a).begin < slab_at(b).begin; });
    std::int64_t end = 0;
    for (const auto& place : places[t]) {
      const auto& slab = slab_at(place);
      if (slab.begin != end) {
        throw IoError(fmt::format("{} of \"{}\": element {} is {}", name_of(kind), manifest.tensors[t].name,
                                  std::min(end, slab.begin), slab.begin > end ? "in no shard" : "in two shards"),
                      where);
      }
      end += slab.count;
    }
    const bool absent = places[t].empty() && kind != CheckpointKind::parameter;
    if (!absent && end != count_of(kind, manifest.tensors[t])) {
      throw IoError(
          fmt::format("{} of \"{}\": element {} is in no shard", name_of(kind), manifest.tensors[t].name, end), where);
    }
  }
  return places;
}

std::string manifest_text(const Manifest& manifest) {
  std::string text = fmt::format("{{\"format\": {}, \"step\": {}, \"piece_count\": {}, \"digest\": \"xxh3-128\",\n",
                                 checkpoint_format, manifest.step, manifest.piece_count);
  text += fmt::format("\"view\": {{\"file\": \"{}\", \"bytes\": {}, \"digest\": \"{}\"}},\n\"tensors\": [", view_name,
                      manifest.view_bytes, manifest.view_digest);
  const char* comma = "\n";
  for (const auto& tensor : manifest.tensors) {
    text += fmt::format("{} [{}, {}]", comma, nlohmann::json(tensor.name).dump(), shape_text(tensor.shape));
    comma = ",\n";
  }
  text += "],\n\"shards\": [";
  comma = "\n";
  for (const auto& shard : manifest.shards) {
    text += comma;
    add_shard(text, shard);
    comma = ",\n";
  }
  text += "],\n\"files\": [";
  comma = "\n";
  for (const auto& file : manifest.files) {
    text += fmt::format("{} [{}, {}, \"{}\"]", comma, nlohmann::json(file.name).dump(), file.bytes, file.digest);
    comma = ",\n";
  }
  using Handler = nlohmann::json::error_handler_t;
  return text + "],\n\"metadata\": " + nlohmann::json(manifest.metadata).dump(-1, ' ', false, Handler::replace) + "}\n";
}

Manifest parse_manifest(std::string_view text, const std::string& where) {
  const Fields fields(where);
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) fields.fail("it is not JSON");
  const auto format = fields.number(fields.member(json, "format"), "format");
  if (format != checkpoint_format) {
    throw IoError(fmt::format("is a checkpoint of format {}, this program reads format {}", format, checkpoint_format),
                  where);
  }
  Manifest manifest;
  manifest.step = fields.number(fields.member(json, "step"), "step");
  manifest.piece_count = fields.number(fields.member(json, "piece_count"), "piece_count");
  if (manifest.piece_count < 1 || manifest.piece_count > max_piece_count)
    fields.fail("\"piece_count\" is out of range");
  const auto& view = fields.member(json, "view");
  manifest.view_bytes = fields.number(fields.member(view, "bytes"), "bytes");
  manifest.view_digest = fields.digest(view, "digest");
  for (const auto& row : fields.list(json, "tensors")) {
    if (!row.is_array() || row.size() != 2 || !row[1].is_array()) fields.fail("a tensor is [name, shape]");
    TensorInfo tensor{fields.text(row[0], "name"), {}};
    for (const auto& extent : row[1]) tensor.shape.push_back(fields.number(extent, "shape"));
    manifest.tensors.push_back(std::move(tensor));
  }
  try {
    check_tensor_list(manifest.tensors);
  } catch (const Error& error) {
    fields.fail(error.what());
  }
  for (const auto& shard : fields.list(json, "shards")) manifest.shards.push_back(parse_shard(shard, manifest, fields));
  parse_files_and_metadata(json, manifest, fields);
  for (const auto kind : all_kinds) (void)places_of(manifest, kind, where);
  return manifest;
}

std::vector<std::array<std::int64_t, 2>> frame_ranges(const Shard& shard) {
  std::vector<std::array<std::int64_t, 2>> datasets;
  for (const auto kind : all_kinds) {
    const auto& dataset = shard.datasets[static_cast<std::size_t>(kind)];
    if (dataset.count > 0) datasets.push_back({dataset.offset, dataset.offset + dataset.count * element_bytes(kind)});
  }
  std::sort(datasets.begin(), datasets.end());
  std::vector<std::array<std::int64_t, 2>> ranges;
  std::int64_t end = 0;
  for (const auto& dataset : datasets) {
    ranges.push_back({end, dataset[0]});
    end = dataset[1];
  }
  ranges.push_back({end, shard.bytes});
  return ranges;
}

std::string frame_digest(const std::filesystem::path& folder, const Shard& shard) {
  const auto path = folder / shard.file;
  const auto file = open_to_read(path);
  std::array<char, 16384> block{};
  Digest digest;
  for (const auto& [begin, end] : frame_ranges(shard)) {
    for (auto at = begin; at < end; at += static_cast<std::int64_t>(block.size())) {
      const auto n = std::min(end - at, static_cast<std::int64_t>(block.size()));
      read_at(file, at, block.data(), n, path);
      digest.add(block.data(), n);
    }
  }
  return digest.hex();
}

}  // namespace dstrain
