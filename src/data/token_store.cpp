// SPDX-License-Identifier: Apache-2.0
#include "data/token_store.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "core/error.hpp"

namespace dstrain {
namespace {

[[noreturn]] void damaged(const std::string& where, const std::string& what) {
  throw IoError(fmt::format("the token cache is damaged: {}", what), where, "delete it; it is made again");
}

TokenImageHeader read_header(std::span<const std::byte> image, const std::string& digest, const std::string& where) {
  TokenImageHeader header;
  if (image.size() < sizeof header) damaged(where, "it is too short");
  std::memcpy(&header, image.data(), sizeof header);
  if (std::memcmp(header.magic, token_image_magic, sizeof header.magic) != 0)
    damaged(where, "it does not start like one");
  if (header.version != token_image_version)
    damaged(where, fmt::format("version {} instead of {}", header.version, token_image_version));
  if (header.header_checksum != header_checksum(header)) damaged(where, "the checksum of its header does not match");
  if (!digest.empty() && std::string_view(header.digest, sizeof header.digest) != digest)
    damaged(where, "it was made from other data");
  // Bounds before any product: no count can be larger than the image.
  if (header.rows > image.size() || header.words > image.size() || image_bytes(header) != image.size() ||
      header.kind > static_cast<std::uint32_t>(RowKind::prompt)) {
    damaged(where, "its length does not match its counts");
  }
  const auto body = image.subspan(sizeof header);
  if (XXH3_64bits(body.data(), body.size()) != header.body_checksum)
    damaged(where, "the checksum of its rows does not match");
  return header;
}

}  // namespace

std::vector<std::byte> TokenStore::make_image(const TokenStoreContent& content, const std::string& digest) {
  TokenImageWriter writer;
  for (const auto& row : content.encoded.rows) writer.add(row.view());
  return writer.finish(content.facts, digest);
}

void TokenStore::read_image(std::span<const std::byte> image, const std::string& digest, const std::string& where) {
  const TokenImageHeader header = read_header(image, digest, where);
  const auto body = image.subspan(sizeof header);
  words_ = {reinterpret_cast<const std::int32_t*>(body.data()), static_cast<std::size_t>(header.words)};
  const auto index = body.subspan(static_cast<std::size_t>(header.words + header.words % 2) * sizeof(std::int32_t));
  rows_ = {reinterpret_cast<const TokenImageRow*>(index.data()), static_cast<std::size_t>(header.rows)};
  info_.rows = static_cast<std::int64_t>(header.rows);
  info_.tokens = static_cast<std::int64_t>(header.tokens);
  info_.labels = static_cast<std::int64_t>(header.labels);
  info_.truncated = header.truncated;
  info_.dropped = header.dropped;
  info_.padded_row_len = header.padded_row_len;
  info_.max_row_tokens = header.max_row_tokens;
  info_.kind = static_cast<RowKind>(header.kind);
  info_.separate_samples = header.separate_samples != 0;
  digest_.assign(header.digest, sizeof header.digest);
  vocab_size_ = header.vocab_size;
  for (std::int64_t i = 0; i < info_.rows; ++i) check_row(i, where);
}

/// Checks everything that a reader relies on: extents, lengths that belong together, ids within the vocabulary.
void TokenStore::check_row(std::int64_t index, const std::string& where) const {
  const TokenImageRow& e = rows_[static_cast<std::size_t>(index)];
  const std::uint64_t end =
      e.begin + std::uint64_t{e.sample_lens} + e.input_ids + e.labels + e.second_input_ids + e.second_labels;
  if (e.begin > words_.size() || end > words_.size() || e.input_ids == 0 || e.input_ids > 0x7fffffffU)
    damaged(where, fmt::format("row {} has no extent", index));
  const bool in_step = info_.kind == RowKind::prompt || e.labels == e.input_ids;
  if (!in_step || e.second_labels != e.second_input_ids ||
      std::max(e.input_ids, e.second_input_ids) > info_.max_row_tokens) {
    damaged(where, fmt::format("the sequences of row {} do not fit together", index));
  }
  std::vector<std::int32_t> none;
  const RowView row = this->row(index, none);
  std::int64_t covered = 0;
  for (const std::int32_t length : row.sample_lens) {
    if (length <= 0) damaged(where, fmt::format("row {} holds an empty sample", index));
    covered += length;
  }
  if (!row.sample_lens.empty() && covered != std::ssize(row.input_ids))
    damaged(where, fmt::format("the samples of row {} do not fill it", index));
  const auto is_id = [&](std::int32_t id) { return id >= 0 && id < vocab_size_; };
  const auto is_label = [&](std::int32_t label) { return label == ignore_label || is_id(label); };
  if (!std::all_of(row.input_ids.begin(), row.input_ids.end(), is_id) ||
      !std::all_of(row.second_input_ids.begin(), row.second_input_ids.end(), is_id) ||
      !std::all_of(row.labels.begin(), row.labels.end(), is_label) ||
      !std::all_of(row.second_labels.begin(), row.second_labels.end(), is_label)) {
    damaged(where, "an id lies outside the vocabulary");
  }
}

std::unique_ptr<TokenStore> TokenStore::from_image(std::vector<std::byte> image, const std::string& digest) {
  std::unique_ptr<TokenStore> store(new TokenStore);
  store->owned_ = std::move(image);
  store->read_image(store->owned_, digest, "token cache in memory");
  return store;
}

std::unique_ptr<TokenStore> TokenStore::open(const std::filesystem::path& path, const std::string& digest) {
  std::unique_ptr<TokenStore> store(new TokenStore);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw IoError(fmt::format("cannot be opened: {}", std::strerror(errno)), path.string());
  struct stat status {};
  void* mapped = MAP_FAILED;
  if (fstat(fd, &status) == 0 && status.st_size > 0) {
    mapped = mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
  }
  ::close(fd);
  if (mapped == MAP_FAILED) damaged(path.string(), "it is empty or cannot be mapped");
  store->mapped_ = mapped;
  store->mapped_bytes_ = static_cast<std::size_t>(status.st_size);
  store->read_image({static_cast<const std::byte*>(mapped), store->mapped_bytes_}, digest, path.string());
  return store;
}

TokenStore::~TokenStore() {
  if (mapped_ != nullptr) munmap(mapped_, mapped_bytes_);
}

const TokenImageRow& TokenStore::entry(std::int64_t index) const {
  DSTRAIN_CHECK(index >= 0 && index < info_.rows, "row {} of {}", index, info_.rows);
  return rows_[static_cast<std::size_t>(index)];
}

RowView TokenStore::row(std::int64_t index, std::vector<std::int32_t>& /*scratch*/) const {
  const TokenImageRow& e = entry(index);
  auto at = static_cast<std::size_t>(e.begin);
  const auto take = [&](std::uint32_t count) { return words_.subspan(std::exchange(at, at + count), count); };
  RowView row;
  row.sample_lens = take(e.sample_lens);
  row.input_ids = take(e.input_ids);
  row.labels = take(e.labels);
  row.second_input_ids = take(e.second_input_ids);
  row.second_labels = take(e.second_labels);
  row.desirable = e.desirable != 0;
  return row;
}

std::int64_t TokenStore::row_tokens(std::int64_t index) const {
  const TokenImageRow& e = entry(index);
  return std::int64_t{e.input_ids} + e.second_input_ids;
}

std::int64_t TokenStore::row_samples(std::int64_t index) const {
  return std::max<std::int64_t>(1, entry(index).sample_lens);
}

}  // namespace dstrain
