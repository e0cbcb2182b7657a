// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/errors.hpp"

#include "core/device_runtime.hpp"
#include "core/log.hpp"

namespace dstrain {

void fail_shape(const std::string& what) { throw ShapeError(what); }
void fail_device(const std::string& what) { throw CudaError(what); }
void warn_person(const std::string& what) { log::warning("{}", what); }

}  // namespace dstrain
