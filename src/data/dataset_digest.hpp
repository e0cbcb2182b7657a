// SPDX-License-Identifier: Apache-2.0
/// What rows are made from, as digests: names the token cache, and tells at a resume whether the data changed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/dataset_reader.hpp"
#include "io/files/digest.hpp"

namespace dstrain {

/// A dataset file and the digest of its bytes.
struct FileFingerprint {
  std::string name;    ///< dataset and file: "identity/identity.json"
  std::string digest;  ///< 32 hex digits
  bool operator==(const FileFingerprint&) const = default;
};

/// Reads every file once. Local. @throws IoError
std::vector<FileFingerprint> fingerprints(const std::vector<DatasetSource>& sources);

/// Adds a named part; lengths are part of the digest, so that parts cannot run into each other.
void add_part(Digest& digest, std::string_view name, std::string_view bytes);

/// Where the data of a run differs from what a checkpoint was trained on.
struct DataState {
  std::vector<FileFingerprint> files;  ///< of the training datasets, in order
  std::string rows;                    ///< digest of all that the training rows were made from

  [[nodiscard]] std::string to_text() const;
  /// @throws IoError  the text is not to_text()'s; `where` names the checkpoint
  static DataState parse(std::string_view text, const std::string& where);
  /// What changed since `before`, for people; empty: nothing.
  [[nodiscard]] std::string difference(const DataState& before) const;
};

}  // namespace dstrain
