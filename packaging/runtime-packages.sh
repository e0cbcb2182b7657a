#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# runtime-packages.sh PROGRAM - the Debian or Ubuntu packages that a built dstrain needs to run, one on a line: those of the
# libraries that it is linked with, found on the machine that built it, and what starts its ranks.
set -euo pipefail
program=${1:?usage: runtime-packages.sh PROGRAM}

ldd "$program" | awk '$3 ~ /^\// { print $3 }' | while IFS= read -r library; do
  # dpkg knows a library by the path it was installed under: /lib may be a link to /usr/lib
  for path in "$library" "$(readlink -f "$library")"; do
    for name in "$path" "/usr$path"; do
      if owner=$(dpkg-query --search "$name" 2>/dev/null); then
        cut -d: -f1 <<<"$owner"
        continue 3
      fi
    done
  done
  case $library in
    */libcuda.so* | /usr/local/cuda*) ;; # the driver's, and the image's own CUDA
    *) echo "error: no package holds $library" >&2; exit 1 ;;
  esac
done | sort -u
printf '%s\n' openmpi-bin openssh-client
