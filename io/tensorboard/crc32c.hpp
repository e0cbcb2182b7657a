// SPDX-License-Identifier: Apache-2.0
/// CRC-32C (Castagnoli), the checksum of TFRecord files.
#pragma once

#include <cstdint>
#include <string_view>

namespace dstrain {

/// CRC-32C of `bytes` (RFC 3720, appendix B.4: reflected polynomial 0x82f63b78). Local.
[[nodiscard]] std::uint32_t crc32c(std::string_view bytes) noexcept;

/// The checksum as TFRecord stores it: rotated and shifted, so that a record which holds checksums stays checkable.
[[nodiscard]] constexpr std::uint32_t masked(std::uint32_t crc) noexcept {
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

}  // namespace dstrain
