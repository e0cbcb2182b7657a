#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# runtime-packages.sh PROGRAM - the Debian or Ubuntu packages that a built dstrain needs to run, one on a line: those of the
# libraries that it is linked with, found on the machine that built it, and what starts its ranks.
set -euo pipefail
program=${1:?usage: runtime-packages.sh PROGRAM}

mapfile -t libraries < <(ldd "$program" | awk '$3 ~ /^\// { print $3 }')

# dpkg knows a library by the path it was installed under: /lib may be a link to /usr/lib
paths_of() {
  local path
  for path in "$1" "$(readlink -f "$1")"; do printf '%s\n' "$path" "/usr$path"; done
}

# One question for all paths: to answer one, dpkg-query reads the file lists of every package.
mapfile -t asked < <(for library in "${libraries[@]}"; do paths_of "$library"; done)
declare -A owner=()
while IFS= read -r line; do owner[${line##*: }]=${line%%:*}; done < <(dpkg-query --search "${asked[@]}" 2>/dev/null)

for library in "${libraries[@]}"; do
  while IFS= read -r path; do
    [[ -z ${owner[$path]:-} ]] || { echo "${owner[$path]}"; continue 2; }
  done < <(paths_of "$library")
  case $library in
    */libcuda.so* | /usr/local/cuda*) ;; # the driver's, and the image's own CUDA
    *) echo "error: no package holds $library" >&2; exit 1 ;;
  esac
done | sort -u
printf '%s\n' openmpi-bin openssh-client
