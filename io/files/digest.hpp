// SPDX-License-Identifier: Apache-2.0
/// XXH3-128 digests: against damage, not against malice. The text form is that of `xxhsum -H2`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace dstrain {

/// Letters of a digest in text form.
inline constexpr std::size_t digest_letters = 32;

/// Takes bytes piece by piece.
class Digest {
 public:
  Digest();
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;
  ~Digest();

  void add(const void* data, std::int64_t bytes);
  /// 32 hexadecimal letters, canonical (big-endian) order. More may be added after it.
  [[nodiscard]] std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Digest of one range of memory.
[[nodiscard]] std::string digest_of(const void* data, std::int64_t bytes);
[[nodiscard]] inline std::string digest_of(std::string_view bytes) {
  return digest_of(bytes.data(), static_cast<std::int64_t>(bytes.size()));
}

/// Digest of a whole file, read in pieces. Local. @throws IoError
[[nodiscard]] std::string digest_of_file(const std::filesystem::path& path);

/// True for 32 lower-case hexadecimal letters.
[[nodiscard]] bool is_digest(std::string_view text) noexcept;

}  // namespace dstrain
