// SPDX-License-Identifier: Apache-2.0
#include "data/token_store.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>

#include "core/error.hpp"

namespace dstrain {
namespace {

static_assert(std::endian::native == std::endian::little, "the image is little-endian");

constexpr std::uint32_t format_version = 1;
constexpr char magic[8] = {'D', 'S', 'T', 'O', 'K', 'E', 'N', 'S'};

struct Header {
  char magic[8];
  std::uint32_t version;
  std::uint32_t separate_samples;
  char digest[32];
  std::uint64_t rows;
  std::uint64_t tokens;
  std::uint64_t labels;
  std::uint64_t sample_lens;
  std::int64_t truncated;
  std::int64_t dropped;
  std::int32_t padded_row_len;
  std::int32_t vocab_size;
  std::uint64_t body_checksum;
  char unused[256 - 8 - 8 - 32 - 48 - 8 - 8 - 8];
  std::uint64_t header_checksum;  ///< of all bytes before it
};
static_assert(sizeof(Header) == 256 && std::is_trivially_copyable_v<Header>);

constexpr std::size_t padded(std::size_t bytes) { return (bytes + 7) / 8 * 8; }

/// Where the arrays of an image with this header lie.
struct Layout {
  std::size_t row_begin, samples_begin, sample_lens, input_ids, labels, end;

  explicit Layout(const Header& h) {
    row_begin = sizeof(Header);
    samples_begin = row_begin + (h.rows + 1) * 8;
    sample_lens = samples_begin + (h.rows + 1) * 8;
    input_ids = sample_lens + padded(h.sample_lens * 4);
    labels = input_ids + padded(h.tokens * 4);
    end = labels + padded(h.tokens * 4);
  }
};

std::uint64_t header_checksum(const Header& header) { return XXH3_64bits(&header, offsetof(Header, header_checksum)); }

template <typename T>
std::span<const T> array_at(std::span<const std::byte> image, std::size_t offset, std::uint64_t count) {
  return {reinterpret_cast<const T*>(image.data() + offset), static_cast<std::size_t>(count)};
}

[[noreturn]] void damaged(const std::string& where, const std::string& what) {
  throw IoError(fmt::format("the token cache is damaged: {}", what), where, "delete it; it is made again");
}

Header read_header(std::span<const std::byte> image, const std::string& digest, const std::string& where) {
  Header header;
  if (image.size() < sizeof header) damaged(where, "it is too short");
  std::memcpy(&header, image.data(), sizeof header);
  if (std::memcmp(header.magic, magic, sizeof magic) != 0) damaged(where, "it does not start like one");
  if (header.version != format_version)
    damaged(where, fmt::format("version {} instead of {}", header.version, format_version));
  if (header.header_checksum != header_checksum(header)) damaged(where, "the checksum of its header does not match");
  if (std::string_view(header.digest, sizeof header.digest) != digest) damaged(where, "it was made from other data");
  // Bounds before any product: no count can be larger than the image.
  if (header.rows > image.size() || header.tokens > image.size() || header.sample_lens > image.size() ||
      Layout(header).end != image.size()) {
    damaged(where, "its length does not match its counts");
  }
  const auto body = image.subspan(sizeof header);
  if (XXH3_64bits(body.data(), body.size()) != header.body_checksum)
    damaged(where, "the checksum of its rows does not match");
  return header;
}

Header make_header(const TokenStoreContent& content, const std::string& digest) {
  Header header{};
  std::memcpy(header.magic, magic, sizeof magic);
  header.version = format_version;
  header.separate_samples = content.separate_samples ? 1 : 0;
  DSTRAIN_CHECK(digest.size() == sizeof header.digest, "a digest of {} characters", digest.size());
  std::memcpy(header.digest, digest.data(), sizeof header.digest);
  const EncodedRows& encoded = content.encoded;
  header.rows = encoded.rows.size();
  for (const auto& row : encoded.rows) {
    DSTRAIN_CHECK(row.input_ids.size() == row.labels.size(), "a row has {} ids and {} labels", row.input_ids.size(),
                  row.labels.size());
    header.tokens += row.input_ids.size();
    header.sample_lens += row.sample_lens.size();
    header.labels +=
        row.labels.size() - static_cast<std::size_t>(std::count(row.labels.begin(), row.labels.end(), ignore_label));
  }
  header.truncated = encoded.truncated;
  header.dropped = encoded.invalid + encoded.too_long;
  header.padded_row_len = content.padded_row_len;
  header.vocab_size = content.vocab_size;
  return header;
}

template <typename T>
std::byte* put(std::byte* at, const std::vector<T>& values) {
  if (!values.empty()) std::memcpy(at, values.data(), values.size() * sizeof(T));
  return at + values.size() * sizeof(T);
}

}  // namespace

std::vector<std::byte> TokenStore::make_image(const TokenStoreContent& content, const std::string& digest) {
  Header header = make_header(content, digest);
  const Layout layout(header);
  std::vector<std::byte> image(layout.end);
  std::byte* lens = image.data() + layout.sample_lens;
  std::byte* ids = image.data() + layout.input_ids;
  std::byte* labels = image.data() + layout.labels;
  std::vector<std::uint64_t> row_begin{0};
  std::vector<std::uint64_t> samples_begin{0};
  for (const auto& row : content.encoded.rows) {
    lens = put(lens, row.sample_lens);
    ids = put(ids, row.input_ids);
    labels = put(labels, row.labels);
    row_begin.push_back(row_begin.back() + row.input_ids.size());
    samples_begin.push_back(samples_begin.back() + row.sample_lens.size());
  }
  put(image.data() + layout.row_begin, row_begin);
  put(image.data() + layout.samples_begin, samples_begin);
  header.body_checksum = XXH3_64bits(image.data() + sizeof header, image.size() - sizeof header);
  header.header_checksum = header_checksum(header);
  std::memcpy(image.data(), &header, sizeof header);
  return image;
}

void TokenStore::read_image(std::span<const std::byte> image, const std::string& digest, const std::string& where) {
  const Header header = read_header(image, digest, where);
  const Layout layout(header);
  row_begin_ = array_at<std::uint64_t>(image, layout.row_begin, header.rows + 1);
  samples_begin_ = array_at<std::uint64_t>(image, layout.samples_begin, header.rows + 1);
  sample_lens_ = array_at<std::int32_t>(image, layout.sample_lens, header.sample_lens);
  input_ids_ = array_at<std::int32_t>(image, layout.input_ids, header.tokens);
  labels_ = array_at<std::int32_t>(image, layout.labels, header.tokens);
  info_.rows = static_cast<std::int64_t>(header.rows);
  info_.tokens = static_cast<std::int64_t>(header.tokens);
  info_.labels = static_cast<std::int64_t>(header.labels);
  info_.truncated = header.truncated;
  info_.dropped = header.dropped;
  info_.padded_row_len = header.padded_row_len;
  info_.separate_samples = header.separate_samples != 0;
  check_rows(header.vocab_size, where);
  for (std::int64_t i = 0; i < info_.rows; ++i) info_.max_row_tokens = std::max(info_.max_row_tokens, row_tokens(i));
}

void TokenStore::check_rows(std::int32_t vocab_size, const std::string& where) const {
  if (row_begin_.front() != 0 || row_begin_.back() != input_ids_.size() || samples_begin_.front() != 0 ||
      samples_begin_.back() != sample_lens_.size()) {
    damaged(where, "its rows do not cover its tokens");
  }
  for (std::size_t i = 0; i + 1 < row_begin_.size(); ++i) {
    const bool forward = row_begin_[i] < row_begin_[i + 1] && samples_begin_[i] <= samples_begin_[i + 1] &&
                         row_begin_[i + 1] <= input_ids_.size() && samples_begin_[i + 1] <= sample_lens_.size();
    if (!forward || row_begin_[i + 1] - row_begin_[i] > 0x7fffffffU)
      damaged(where, fmt::format("row {} has no extent", i));
    std::uint64_t covered = 0;
    for (std::uint64_t s = samples_begin_[i]; s < samples_begin_[i + 1]; ++s) {
      if (sample_lens_[s] <= 0) damaged(where, fmt::format("row {} holds an empty sample", i));
      covered += static_cast<std::uint64_t>(sample_lens_[s]);
    }
    if (samples_begin_[i + 1] > samples_begin_[i] && covered != row_begin_[i + 1] - row_begin_[i]) {
      damaged(where, fmt::format("the samples of row {} do not fill it", i));
    }
  }
  const auto in_vocabulary = [&](std::int32_t id) { return id >= 0 && id < vocab_size; };
  if (!std::all_of(input_ids_.begin(), input_ids_.end(), in_vocabulary) ||
      !std::all_of(labels_.begin(), labels_.end(),
                   [&](std::int32_t l) { return l == ignore_label || in_vocabulary(l); })) {
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

RowView TokenStore::row(std::int64_t index, std::vector<std::int32_t>& /*scratch*/) const {
  DSTRAIN_CHECK(index >= 0 && index < info_.rows, "row {} of {}", index, info_.rows);
  const auto i = static_cast<std::size_t>(index);
  const std::size_t begin = row_begin_[i];
  const std::size_t count = row_begin_[i + 1] - begin;
  const std::size_t samples = samples_begin_[i];
  return {input_ids_.subspan(begin, count), labels_.subspan(begin, count),
          sample_lens_.subspan(samples, samples_begin_[i + 1] - samples)};
}

std::int64_t TokenStore::row_tokens(std::int64_t index) const {
  DSTRAIN_CHECK(index >= 0 && index < info_.rows, "row {} of {}", index, info_.rows);
  const auto i = static_cast<std::size_t>(index);
  return static_cast<std::int64_t>(row_begin_[i + 1] - row_begin_[i]);
}

std::int64_t TokenStore::row_samples(std::int64_t index) const {
  DSTRAIN_CHECK(index >= 0 && index < info_.rows, "row {} of {}", index, info_.rows);
  const auto i = static_cast<std::size_t>(index);
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(samples_begin_[i + 1] - samples_begin_[i]));
}

}  // namespace dstrain
