// SPDX-License-Identifier: Apache-2.0
#include "io/files/digest.hpp"

#include <fmt/core.h>
#include <xxhash.h>

#include <algorithm>
#include <new>
#include <vector>

#include "io/files/file.hpp"

namespace dstrain {
namespace {

std::string text_of(XXH128_hash_t hash) { return fmt::format("{:016x}{:016x}", hash.high64, hash.low64); }

}  // namespace

struct Digest::State {
  XXH3_state_t* xxh = XXH3_createState();
  ~State() { XXH3_freeState(xxh); }
};

Digest::Digest() : state_(std::make_unique<State>()) {
  if (state_->xxh == nullptr) throw std::bad_alloc();
  XXH3_128bits_reset(state_->xxh);
}

Digest::~Digest() = default;

void Digest::add(const void* data, std::int64_t bytes) {
  if (bytes > 0) XXH3_128bits_update(state_->xxh, data, static_cast<std::size_t>(bytes));
}

std::string Digest::hex() const { return text_of(XXH3_128bits_digest(state_->xxh)); }

std::string digest_of(const void* data, std::int64_t bytes) {
  return text_of(XXH3_128bits(data, static_cast<std::size_t>(bytes)));
}

std::string digest_of_file(const std::filesystem::path& path) {
  const auto file = open_to_read(path);
  const auto bytes = file_bytes(file, path);
  std::vector<char> block(static_cast<std::size_t>(std::clamp<std::int64_t>(bytes, 1, 1 << 20)));
  Digest digest;
  for (std::int64_t at = 0; at < bytes; at += static_cast<std::int64_t>(block.size())) {
    const auto n = std::min(bytes - at, static_cast<std::int64_t>(block.size()));
    read_at(file, at, block.data(), n, path);
    digest.add(block.data(), n);
  }
  return digest.hex();
}

bool is_digest(std::string_view text) noexcept {
  return text.size() == digest_letters &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace dstrain
