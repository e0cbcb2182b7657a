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
#include "data/token_image.hpp"

namespace dstrain {

/// The rows of a TokenStore before they are one: what encode_samples gives, plus what every reader must know.
struct TokenStoreContent {
  EncodedRows encoded;
  TokenImageFacts facts;
};

/// Reads an image that a TokenImageWriter wrote.
class TokenStore final : public RowSource {
 public:
  /// Bytes of the image of `content`. `digest` names what it was made from (32 hex digits).
  static std::vector<std::byte> make_image(const TokenStoreContent& content, const std::string& digest);

  /// Takes over an image. @throws IoError  it is damaged (what is wrong is said) or made from something else than
  /// `digest`
  static std::unique_ptr<TokenStore> from_image(std::vector<std::byte> image, const std::string& digest);
  /// Maps a file. @param digest  empty: whatever it was made from
  /// @throws IoError  as from_image, or it cannot be opened
  static std::unique_ptr<TokenStore> open(const std::filesystem::path& path, const std::string& digest);

  ~TokenStore() override;

  const RowSourceInfo& info() const noexcept override { return info_; }
  RowView row(std::int64_t index, std::vector<std::int32_t>& scratch) const override;
  std::int64_t row_tokens(std::int64_t index) const override;
  std::int64_t row_samples(std::int64_t index) const override;
  /// What the rows were made from. With the checksum of the rows: the rows themselves.
  [[nodiscard]] const std::string& digest() const noexcept { return digest_; }
  [[nodiscard]] std::int32_t vocab_size() const noexcept { return vocab_size_; }

 private:
  TokenStore() = default;
  void read_image(std::span<const std::byte> image, const std::string& digest, const std::string& where);
  void check_row(std::int64_t index, const std::string& where) const;
  [[nodiscard]] const TokenImageRow& entry(std::int64_t index) const;

  std::vector<std::byte> owned_;
  void* mapped_ = nullptr;
  std::size_t mapped_bytes_ = 0;
  RowSourceInfo info_;
  std::string digest_;
  std::int32_t vocab_size_ = 0;
  std::span<const std::int32_t> words_;
  std::span<const TokenImageRow> rows_;
};

}  // namespace dstrain
