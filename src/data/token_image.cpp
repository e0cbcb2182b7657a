// SPDX-License-Identifier: Apache-2.0
#include "data/token_image.hpp"

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "core/error.hpp"
#include "data/encode.hpp"

namespace dstrain {
namespace {

static_assert(std::endian::native == std::endian::little, "the image is little-endian");

constexpr std::size_t buffer_bytes = std::size_t{1} << 20;

std::uint32_t count_of(std::span<const std::int32_t> values) {
  DSTRAIN_CHECK(values.size() <= std::numeric_limits<std::int32_t>::max(), "a row of {} tokens", values.size());
  return static_cast<std::uint32_t>(values.size());
}

std::uint64_t counted(std::span<const std::int32_t> labels) {
  return labels.size() - static_cast<std::size_t>(std::count(labels.begin(), labels.end(), ignore_label));
}

}  // namespace

struct TokenImageWriter::Checksum {
  Checksum() : state(XXH3_createState()) { XXH3_64bits_reset(state); }
  Checksum(const Checksum&) = delete;
  Checksum& operator=(const Checksum&) = delete;
  ~Checksum() { XXH3_freeState(state); }
  XXH3_state_t* state;
};

std::uint64_t header_checksum(const TokenImageHeader& header) {
  return XXH3_64bits(&header, offsetof(TokenImageHeader, header_checksum));
}

std::uint64_t image_bytes(const TokenImageHeader& header) {
  return sizeof(TokenImageHeader) + (header.words + header.words % 2) * sizeof(std::int32_t) +
         header.rows * sizeof(TokenImageRow);
}

TokenImageWriter::TokenImageWriter() : checksum_(std::make_unique<Checksum>()) {
  buffer_.resize(sizeof(TokenImageHeader));
}

TokenImageWriter::TokenImageWriter(const std::filesystem::path& path)
    : path_(path), file_(create_to_write(path)), checksum_(std::make_unique<Checksum>()) {
  buffer_.reserve(2 * buffer_bytes);
  buffer_.resize(sizeof(TokenImageHeader));
}

TokenImageWriter::~TokenImageWriter() = default;

void TokenImageWriter::flush() {
  if (!file_) return;
  write_at(file_, written_, buffer_.data(), std::ssize(buffer_), path_);
  written_ += std::ssize(buffer_);
  buffer_.clear();
}

void TokenImageWriter::put(const void* data, std::size_t bytes) {
  XXH3_64bits_update(checksum_->state, data, bytes);
  const auto* from = static_cast<const std::byte*>(data);
  buffer_.insert(buffer_.end(), from, from + bytes);
  if (buffer_.size() >= buffer_bytes) flush();
}

void TokenImageWriter::put(std::span<const std::int32_t> values) {
  put(values.data(), values.size_bytes());
  words_ += values.size();
}

void TokenImageWriter::add(const RowView& row) {
  index_.push_back({.begin = words_,
                    .sample_lens = count_of(row.sample_lens),
                    .input_ids = count_of(row.input_ids),
                    .labels = count_of(row.labels),
                    .second_input_ids = count_of(row.second_input_ids),
                    .second_labels = count_of(row.second_labels),
                    .desirable = row.desirable ? 1U : 0U});
  put(row.sample_lens);
  put(row.input_ids);
  put(row.labels);
  put(row.second_input_ids);
  put(row.second_labels);
  header_.tokens += row.input_ids.size() + row.second_input_ids.size();
  header_.labels += counted(row.labels) + counted(row.second_labels);
  header_.max_row_tokens = std::max({header_.max_row_tokens, count_of(row.input_ids), count_of(row.second_input_ids)});
}

std::vector<std::byte> TokenImageWriter::finish(const TokenImageFacts& facts, const std::string& digest) {
  constexpr std::int32_t nothing = 0;
  header_.words = words_;
  if (words_ % 2 != 0) put(&nothing, sizeof nothing);
  put(index_.data(), index_.size() * sizeof(TokenImageRow));
  std::memcpy(header_.magic, token_image_magic, sizeof header_.magic);
  header_.version = token_image_version;
  DSTRAIN_CHECK(digest.size() == sizeof header_.digest, "a digest of {} characters", digest.size());
  std::memcpy(header_.digest, digest.data(), sizeof header_.digest);
  header_.rows = index_.size();
  header_.truncated = facts.truncated;
  header_.dropped = facts.dropped;
  header_.padded_row_len = facts.padded_row_len;
  header_.vocab_size = facts.vocab_size;
  header_.kind = static_cast<std::uint32_t>(facts.kind);
  header_.separate_samples = facts.separate_samples ? 1 : 0;
  header_.body_checksum = XXH3_64bits_digest(checksum_->state);
  header_.header_checksum = header_checksum(header_);
  if (!file_) {
    std::memcpy(buffer_.data(), &header_, sizeof header_);
    return std::move(buffer_);
  }
  flush();
  write_at(file_, 0, &header_, sizeof header_, path_);
  sync_file(file_, path_);
  return {};
}

}  // namespace dstrain
