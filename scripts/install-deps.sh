#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# install-deps.sh - installs what building and testing dstrain needs on Debian 12, Ubuntu 22.04 and later.
# Without root and sudo it installs nothing, prints the list and ends with 2. What is there already is left alone.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"

packages=(
  build-essential cmake ninja-build ccache git pkg-config                   # to build
  openmpi-bin libopenmpi-dev libhdf5-openmpi-dev libhwloc-dev               # ranks and their files
  libdnnl-dev ocl-icd-opencl-dev                                            # matrix products on CPUs
  libyaml-cpp-dev nlohmann-json3-dev libsimdjson-dev libcli11-dev libfmt-dev # texts
  libpcre2-dev libicu-dev libxxhash-dev                                    # tokenizers
  libcairo2-dev                                                             # training_loss.png
  libgtest-dev libgmock-dev libbenchmark-dev                                # tests
  openssh-client iproute2                                                   # tests on several hosts (network namespaces)
  slurm-wlm munge                                                           # tests under a real Slurm
  shellcheck python3-yaml                                                   # tests of shell and container files
  python3-h5py                                                              # checkpoints seen by another HDF5 library
  xz-utils python3                                                          # test data
)
# Ubuntu 22.04 has GCC 11, which lacks parts of C++20.
if [[ $(. /etc/os-release 2>/dev/null && echo "${ID:-}${VERSION_ID:-}") == ubuntu22.04 ]]; then
  packages+=(g++-12 python3-venv)
fi

# Those tests log in to their own sshd. Where systemd runs, the package would start one for the whole machine.
[[ -d /run/systemd/system ]] || packages+=(openssh-server)

if ! command -v apt-get >/dev/null; then
  echo "error: this is neither Debian nor Ubuntu; install by hand what these packages hold:" >&2
  echo "  ${packages[*]}" >&2
  exit 2
fi

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done

if ((${#missing[@]} > 0)); then
  if ((EUID == 0)); then
    apt=(apt-get)
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    apt=(sudo apt-get)
  else
    echo "error: ${#missing[@]} packages are missing, and this user may not install any" >&2
    echo "hint: as root: apt-get update && apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 2
  fi
  export DEBIAN_FRONTEND=noninteractive
  "${apt[@]}" update -q
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
fi

if ! cmake_is_new_enough && [[ ! -x $root/build/venv/bin/cmake ]]; then
  echo "cmake is older than 3.25: a newer one goes into build/venv"
  if ! { python3 -m venv "$root/build/venv" && "$root/build/venv/bin/pip" install --quiet 'cmake>=3.25,<4'; }; then
    rm -rf "$root/build/venv"
    echo "error: cmake 3.25 or later is needed, and pip could not fetch one" >&2
    echo "hint: https://cmake.org/download, or https://apt.kitware.com for Ubuntu" >&2
    exit 2
  fi
fi
# Headers for attention by cuDNN, out of a package of PyPI: only where there is a CUDA compiler, and not needed for the rest.
frontend=nvidia-cudnn-frontend==1.32.0
nvcc=$(command -v nvcc || true)
[[ -n $nvcc || ! -x /usr/local/cuda/bin/nvcc ]] || nvcc=/usr/local/cuda/bin/nvcc
if [[ -n $nvcc && ! -f $root/build/cudnn-frontend/include/cudnn_frontend.h ]]; then
  wheel=$(mktemp -d)
  if python3 -m pip download --quiet --no-deps --only-binary=:all: -d "$wheel" "$frontend" &&
    python3 - "$wheel" "$root/build/cudnn-frontend" <<'PYTHON'; then
import pathlib, sys, zipfile
wheel = next(pathlib.Path(sys.argv[1]).glob("*.whl"))
with zipfile.ZipFile(wheel) as archive:
    archive.extractall(sys.argv[2], [name for name in archive.namelist() if name.startswith("include/")])
PYTHON
    echo "the headers of $frontend are in build/cudnn-frontend"
  else
    echo "note: pip could not fetch $frontend; attention by cuDNN will not be built in (docs/gpu.md)"
  fi
  rm -rf "$wheel"
fi
echo "everything that dstrain needs is installed (${#missing[@]} packages new)"
