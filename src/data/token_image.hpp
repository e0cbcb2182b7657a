// SPDX-License-Identifier: Apache-2.0
/// The layout of tokenised rows on disk, and their writer: rows go out as they come, so that a dataset of any size is
/// written with little memory.
///
/// Image (little-endian): header (256 bytes, with a checksum of itself and one of the rest), i32 words (of each row:
/// sample_lens, input_ids, labels, second_input_ids, second_labels), padding to 8 bytes, one TokenImageRow for each
/// row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/row_source.hpp"
#include "io/files/file.hpp"

namespace dstrain {

/// What every reader of an image must know of it as a whole.
struct TokenImageFacts {
  std::int32_t vocab_size = 0;      ///< every id is below it
  std::int32_t padded_row_len = 0;  ///< see RowSourceInfo
  std::int64_t truncated = 0;
  std::int64_t dropped = 0;
  RowKind kind = RowKind::plain;
  bool separate_samples = false;
};

/// Where a row lies among the words of an image. Counts are in words.
struct TokenImageRow {
  std::uint64_t begin;
  std::uint32_t sample_lens, input_ids, labels, second_input_ids, second_labels;
  std::uint32_t desirable;
};
static_assert(sizeof(TokenImageRow) == 32);

struct TokenImageHeader {
  char magic[8];
  std::uint32_t version;
  std::uint32_t separate_samples;
  char digest[32];  ///< of what the rows were made from
  std::uint64_t rows;
  std::uint64_t words;
  std::uint64_t tokens;
  std::uint64_t labels;
  std::int64_t truncated;
  std::int64_t dropped;
  std::int32_t padded_row_len;
  std::int32_t vocab_size;
  std::uint32_t kind;
  std::uint32_t max_row_tokens;
  std::uint64_t body_checksum;
  char unused[256 - 8 - 8 - 32 - 48 - 16 - 8 - 8];
  std::uint64_t header_checksum;  ///< of all bytes before it
};
static_assert(sizeof(TokenImageHeader) == 256);

inline constexpr std::uint32_t token_image_version = 2;
inline constexpr char token_image_magic[8] = {'D', 'S', 'T', 'O', 'K', 'E', 'N', 'S'};
[[nodiscard]] std::uint64_t header_checksum(const TokenImageHeader& header);
/// Bytes of an image with these counts.
[[nodiscard]] std::uint64_t image_bytes(const TokenImageHeader& header);

/// Takes rows one by one. Memory: the index (32 bytes a row) and a buffer; without a file, the whole image.
class TokenImageWriter {
 public:
  /// Writes into memory.
  TokenImageWriter();
  /// Writes into a file, which is complete and synced after finish(). @throws IoError
  explicit TokenImageWriter(const std::filesystem::path& path);
  TokenImageWriter(const TokenImageWriter&) = delete;
  TokenImageWriter& operator=(const TokenImageWriter&) = delete;
  ~TokenImageWriter();

  /// @throws IoError  e.g. a full disk: nothing more can be added then
  void add(const RowView& row);
  [[nodiscard]] std::int64_t rows() const noexcept { return static_cast<std::int64_t>(index_.size()); }

  /// Ends the image. Returns it where it was written into memory.
  std::vector<std::byte> finish(const TokenImageFacts& facts, const std::string& digest);

 private:
  struct Checksum;

  void put(const void* data, std::size_t bytes);
  void put(std::span<const std::int32_t> values);
  void flush();

  std::filesystem::path path_;
  FileDescriptor file_;  ///< null: into memory
  std::int64_t written_ = 0;
  std::vector<std::byte> buffer_;
  std::vector<TokenImageRow> index_;
  std::uint64_t words_ = 0;
  TokenImageHeader header_{};
  std::unique_ptr<Checksum> checksum_;
};

}  // namespace dstrain
