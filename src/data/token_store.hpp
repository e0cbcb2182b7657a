// SPDX-License-Identifier: Apache-2.0
/// Tokenised rows in one flat image: in memory, or a plain mapped file (so that reading never waits for anything).
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/encode.hpp"
#include "data/row_source.hpp"

namespace dstrain {

/// The rows of a TokenStore before they are one: what encode_samples gives, plus what every reader must know.
struct TokenStoreContent {
  EncodedRows encoded;
  std::int32_t vocab_size = 0;      ///< every id is below it
  std::int32_t padded_row_len = 0;  ///< see RowSourceInfo
  bool separate_samples = false;
};

/// Layout of the image (little-endian; every array starts at a multiple of 8 bytes):
/// header (256 bytes, with a checksum of itself and one of the rest), u64 row_begin[rows + 1], u64 samples_begin[rows +
/// 1], i32 sample_lens[], i32 input_ids[tokens], i32 labels[tokens].
class TokenStore final : public RowSource {
 public:
  /// Bytes of the image of `content`. `digest` names what it was made from (32 hex digits).
  static std::vector<std::byte> make_image(const TokenStoreContent& content, const std::string& digest);

  /// Takes over an image. @throws IoError  it is damaged (what is wrong is said) or made from something else than
  /// `digest`
  static std::unique_ptr<TokenStore> from_image(std::vector<std::byte> image, const std::string& digest);
  /// Maps a file. @throws IoError  as from_image, or it cannot be opened
  static std::unique_ptr<TokenStore> open(const std::filesystem::path& path, const std::string& digest);

  ~TokenStore() override;

  const RowSourceInfo& info() const noexcept override { return info_; }
  RowView row(std::int64_t index, std::vector<std::int32_t>& scratch) const override;
  std::int64_t row_tokens(std::int64_t index) const override;
  std::int64_t row_samples(std::int64_t index) const override;

 private:
  TokenStore() = default;
  void read_image(std::span<const std::byte> image, const std::string& digest, const std::string& where);
  void check_rows(std::int32_t vocab_size, const std::string& where) const;

  std::vector<std::byte> owned_;
  void* mapped_ = nullptr;
  std::size_t mapped_bytes_ = 0;
  RowSourceInfo info_;
  std::span<const std::uint64_t> row_begin_;
  std::span<const std::uint64_t> samples_begin_;
  std::span<const std::int32_t> sample_lens_;
  std::span<const std::int32_t> input_ids_;
  std::span<const std::int32_t> labels_;
};

}  // namespace dstrain
