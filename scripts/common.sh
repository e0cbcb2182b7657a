# SPDX-License-Identifier: Apache-2.0
# Sourced by the scripts beside it: where the tree is, how many jobs, cmake new enough.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034  # for the scripts that source this
jobs=${JOBS:-$(nproc 2>/dev/null || echo 2)}

# Many ranks on one small machine: root allowed (containers), more ranks than cores, no binding, no probing of absent fabrics.
mpi_on_one_machine() {
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1
  export OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vader,tcp OMPI_MCA_btl_base_warn_component_unused=0
  export OMP_WAIT_POLICY=passive # threads that wait leave their core to the other tests
}

# Compiled files are kept between runs, inside the build folder unless ccache is already set up.
use_ccache() {
  command -v ccache >/dev/null || return 0
  export CCACHE_NOHASHDIR=1 CCACHE_BASEDIR=$root
  if [[ -z ${CCACHE_DIR:-} && ! -d ${HOME:-/nonexistent}/.ccache && ! -d ${HOME:-/nonexistent}/.cache/ccache ]]; then
    export CCACHE_DIR=$root/build/.ccache
  fi
}

# The compiler: GCC 12 or later. Ubuntu 22.04's own is 11; g++-12 is in its archive and install-deps.sh installs it.
choose_compiler() {
  [[ -n ${CXX:-} ]] && return 0
  local major
  major=$(g++ -dumpversion 2>/dev/null | cut -d. -f1 || true)
  if [[ ${major:-0} -lt 12 ]] && command -v g++-12 >/dev/null; then
    export CC=gcc-12 CXX=g++-12
  fi
}

# cmake 3.25 or later on PATH: the machine's own, or the one that install-deps.sh put into build/venv.
choose_cmake() {
  [[ -x $root/build/venv/bin/cmake ]] && PATH=$root/build/venv/bin:$PATH
  if ! cmake_is_new_enough; then
    echo "error: cmake 3.25 or later is needed" >&2
    echo "hint: scripts/install-deps.sh puts one into build/venv" >&2
    exit 2
  fi
}

cmake_is_new_enough() {
  local version
  version=$(cmake --version 2>/dev/null | sed -n '1s/.* \([0-9][0-9.]*\).*/\1/p')
  [[ -n $version && $(printf '3.25\n%s\n' "$version" | sort -V | head -n 1) == 3.25 ]]
}
