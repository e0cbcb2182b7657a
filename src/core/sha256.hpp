// SPDX-License-Identifier: Apache-2.0
/// SHA-256 and the message code made of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace dstrain {

using Sha256Bytes = std::array<std::uint8_t, 32>;

/// SHA-256 of bytes that come in pieces: FIPS 180-4. Local.
class Sha256 {
 public:
  Sha256() noexcept;
  Sha256& add(const void* data, std::size_t bytes) noexcept;
  Sha256& add(std::string_view text) noexcept { return add(text.data(), text.size()); }
  /// Of everything added; nothing may be added afterwards.
  [[nodiscard]] Sha256Bytes finish() noexcept;

 private:
  void compress(const std::uint8_t* block) noexcept;

  std::array<std::uint32_t, 8> state_;
  std::array<std::uint8_t, 64> block_{};
  std::uint64_t bytes_ = 0;
};

/// HMAC with SHA-256: RFC 2104. Local.
Sha256Bytes hmac_sha256(std::string_view key, std::string_view message) noexcept;

/// Whether two codes are equal, in a time that does not depend on where they differ. Local.
bool equal_in_constant_time(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b) noexcept;

/// Lower-case hexadecimal digits. Local.
std::string to_hex(std::span<const std::uint8_t> bytes);

}  // namespace dstrain
