#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Usage: shellcheck.sh TREE. Every shell file of the tree (known by its first line) is clean; 77 (skipped) without shellcheck.
set -euo pipefail
cd "$1"
command -v shellcheck >/dev/null || { echo "skipped: shellcheck is not installed (scripts/install-deps.sh)"; exit 77; }

files=()
for folder in .ci slurm scripts tests benchmarks examples packaging; do
  [[ -d $folder ]] || continue
  while IFS= read -r -d '' file; do
    if head -n 3 "$file" | grep -aqE '^#!.*\b(ba)?sh\b|shellcheck shell='; then files+=("$file"); fi
  done < <(find "$folder" -type f -size -256k -not -path '*/data/*' -print0)
done
((${#files[@]} >= 8)) || { echo "only ${#files[@]} shell files were found in $1"; exit 1; }
echo "${#files[@]} files"
shellcheck --external-sources --source-path=SCRIPTDIR --source-path="$PWD" --severity=warning "${files[@]}"
# What users copy and edit has not even a remark.
shellcheck --external-sources --source-path=SCRIPTDIR --source-path="$PWD" slurm/*.sh slurm/*.sbatch packaging/*.sh
