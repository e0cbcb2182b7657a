// SPDX-License-Identifier: Apache-2.0
#include "core/device.hpp"

namespace dstrain {

// The CPU runs every call to its end, so order is program order. kernels/cuda replaces these where a stream is native.
void Stream::synchronize() const {}
void Event::record(const Stream&) {}
void Event::make_wait(const Stream&) const {}

}  // namespace dstrain
