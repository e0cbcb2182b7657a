// SPDX-License-Identifier: Apache-2.0
/// Page-aligned anonymous memory for groups that have no shared windows.
#pragma once

#include <cstdint>

namespace dstrain {

/// Zeroed bytes at a page boundary; pages are taken when touched. Local. @throws Error  the system gives none
void* map_plain_memory(std::int64_t bytes);
void unmap_plain_memory(void* base, std::int64_t bytes) noexcept;

}  // namespace dstrain
