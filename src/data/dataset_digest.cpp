// SPDX-License-Identifier: Apache-2.0
#include "data/dataset_digest.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace dstrain {

std::vector<FileFingerprint> fingerprints(const std::vector<DatasetSource>& sources) {
  std::vector<FileFingerprint> out;
  for (const auto& source : sources) {
    for (const auto& file : source.files) {
      out.push_back({source.description.name + "/" + file->path().filename().string(), digest_of_file(file->path())});
    }
  }
  return out;
}

void add_part(Digest& digest, std::string_view name, std::string_view bytes) {
  for (const std::string_view part : {name, bytes}) {
    const auto size = static_cast<std::int64_t>(part.size());
    digest.add(&size, sizeof size);
    digest.add(part.data(), size);
  }
}

std::string DataState::to_text() const {
  std::string out = rows + " rows\n";
  for (const auto& [name, digest] : files) out += digest + " " + name + "\n";
  return out;
}

DataState DataState::parse(std::string_view text, const std::string& where) {
  DataState out;
  bool first = true;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.size() < digest_letters + 2 || !is_digest(line.substr(0, digest_letters)) || line[digest_letters] != ' ') {
      throw IoError("the checkpoint's record of its data is damaged", where);
    }
    const std::string digest(line.substr(0, digest_letters));
    if (std::exchange(first, false)) {
      out.rows = digest;
    } else {
      out.files.push_back({std::string(line.substr(digest_letters + 1)), digest});
    }
  }
  return out;
}

std::string DataState::difference(const DataState& before) const {
  const auto names = [](const std::vector<FileFingerprint>& files) {
    std::string out;
    for (const auto& file : files) out += (out.empty() ? "" : ", ") + file.name;
    return out.empty() ? std::string("no file") : out;
  };
  const auto same_name = [](const FileFingerprint& a, const FileFingerprint& b) { return a.name == b.name; };
  if (!std::equal(files.begin(), files.end(), before.files.begin(), before.files.end(), same_name)) {
    return fmt::format("{} instead of {}", names(files), names(before.files));
  }
  std::string changed;
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (files[i] == before.files[i]) continue;
    changed += (changed.empty() ? "" : ", ") + files[i].name;
  }
  if (!changed.empty()) return changed + " changed";
  return rows == before.rows ? "" : "the keys that shape the rows changed (template, cutoff_len, packing, ...)";
}

}  // namespace dstrain
