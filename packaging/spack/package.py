# SPDX-License-Identifier: Apache-2.0
"""Spack package of dstrain. In a repository of your own:  spack repo create mine; copy this file to
mine/packages/dstrain/package.py; spack repo add mine; spack install dstrain"""

from spack.package import *


class Dstrain(CMakePackage):
    """Fine-tunes large language models on many processes with one C++20 SPMD binary: MPI places the ranks, ZeRO
    partitions parameters, gradients and optimizer states, checkpoints are sharded HDF5."""

    # EDIT: where your copy of the tree is; or `spack dev-build dstrain@main` inside it.
    homepage = "https://example.org/dstrain"
    git = "https://example.org/dstrain.git"

    license("Apache-2.0")

    version("main", branch="main")

    variant("cuda", default=False, description="Build the CUDA backend and the NCCL communicator")

    depends_on("c", type="build")
    depends_on("cxx", type="build")
    depends_on("cmake@3.25:", type="build")
    depends_on("ninja", type="build")
    depends_on("pkgconfig", type="build")

    depends_on("mpi@3.1:")
    depends_on("hdf5@1.10.8: +mpi +shared")
    depends_on("hwloc@2:")
    depends_on("onednn@2.6: cpu_runtime=omp")
    depends_on("yaml-cpp@0.6:")
    depends_on("nlohmann-json@3.10:")
    depends_on("simdjson@2:")
    depends_on("cli11@2:")
    depends_on("fmt@8:")
    depends_on("pcre2 +jit")
    depends_on("icu4c")
    depends_on("xxhash")
    depends_on("cairo +png")

    with when("+cuda"):
        depends_on("cuda@12:")
        depends_on("cudnn@9:")
        depends_on("nccl@2.18:")

    conflicts("%gcc@:11", msg="GCC 12 or later is needed (C++20)")

    generator("ninja")

    def cmake_args(self):
        return [
            self.define("DSTRAIN_BUILD_TESTS", False),
            self.define_from_variant("DSTRAIN_WITH_CUDA", "cuda"),
        ]

    def setup_run_environment(self, env):
        env.set("DSTRAIN_SLURM", join_path(self.prefix.share, "dstrain", "slurm"))

    @run_after("install")
    @on_package_attributes(run_tests=True)
    def check_version(self):
        Executable(join_path(self.prefix.bin, "dstrain"))("--version")
