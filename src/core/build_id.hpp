// SPDX-License-Identifier: Apache-2.0
/// Which build of the program this process runs.
#pragma once

#include <string>

namespace dstrain {

/// The linker's build id of the running executable in hexadecimal: equal for equal programs, and read from memory.
/// Where the linker left none: "size-<bytes of the file>". Local.
std::string build_id();

}  // namespace dstrain
