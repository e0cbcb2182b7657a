// SPDX-License-Identifier: Apache-2.0
/// What memory this machine and this container can still give.
#pragma once

#include <cstdint>
#include <string>

namespace dstrain {

/// Bytes of host memory that can be had without swapping: MemAvailable of /proc/meminfo, or less where a cgroup (v1 or
/// v2) limits this process. Local. INT64_MAX where the system does not tell.
std::int64_t available_host_bytes();

/// Bytes that this process may occupy at most: MemTotal, or a lower cgroup limit. Local. INT64_MAX where unknown.
std::int64_t total_host_bytes();

/// Bytes of this process that are in memory now (VmRSS), and the most that ever were (VmHWM). Local; 0 where unknown.
std::int64_t resident_bytes();
std::int64_t peak_resident_bytes();

/// Free bytes of the file system that shared windows live in (/dev/shm); 0 where there is none. Local.
std::int64_t free_shared_memory_bytes();

/// "1.50 GiB", "12.0 MiB", "640 B".
std::string format_bytes(std::int64_t bytes);

}  // namespace dstrain
