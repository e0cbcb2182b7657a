// SPDX-License-Identifier: Apache-2.0
/// The model as a row of units: which tensor lies where in which flat buffer. Pure arithmetic.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dstrain {

/// The parts of a unit. Each is one flat buffer with its own gathers; full fine-tuning has only `trainable`.
enum class PartKind : std::uint8_t { trainable = 0, frozen = 1 };
inline constexpr int part_kinds = 2;

/// One tensor inside a part of a unit.
struct TensorLayout {
  std::string name;                 ///< HF name
  std::vector<std::int64_t> shape;  ///< row-major
  std::int64_t count = 0;
  std::int32_t index = 0;  ///< position in ModelLayout::tensors (HF order of the family)
  std::int32_t unit = 0;
  PartKind part = PartKind::trainable;
  std::int64_t offset = 0;  ///< first element in the part's flat buffer
  bool fused = false;       ///< lies right behind the tensor before it, with which it is one product
  bool transposed = false;  ///< a matrix stored [in, out]

  /// Extents of a matrix.
  [[nodiscard]] std::int64_t matrix_out() const noexcept { return shape[transposed ? 1 : 0]; }
  [[nodiscard]] std::int64_t matrix_in() const noexcept { return shape[transposed ? 0 : 1]; }
};

/// A low-rank update of one matrix, y += scale * (x A^T) B^T: its tensors by their index (model/adapters/lora.hpp). A
/// table of rows is the matrix of a layer whose inputs are one-hot: [in, out] with a token's row for each input.
struct AdapterLayout {
  std::int32_t weight = 0;      ///< the matrix, [out, in]; where `transposed`, [in, out]
  std::int32_t a = 0;           ///< [rank, in]
  std::int32_t b = 0;           ///< [out, rank]
  std::int32_t magnitude = -1;  ///< DoRA: [out]; -1: none
  std::int64_t rank = 0;
  std::int64_t out = 0;
  std::int64_t in = 0;
  float scale = 1.0F;
  float dropout = 0.0F;     ///< of x, in training
  bool transposed = false;  ///< how the matrix is stored; A and B never are
  bool lookup = false;      ///< the matrix is a table of rows (model/adapters/lookup_lora.hpp)
};

/// One flat buffer: tensors one after the other; q, k, v and gate, up adjacent without gap; other tensors start on
/// multiples of 256 elements (gaps hold zeros). Cut into `chunks` chunks of `chunk` elements, a grid that does not
/// depend on the number of ranks: chunk = ceil(count / 1024) rounded up to a multiple of 256, the block of 8-bit
/// optimizer states. The buffer has chunks * chunk elements.
struct PartLayout {
  std::int64_t count = 0;  ///< elements up to the end of the last tensor
  std::int64_t chunk = 0;
  std::int64_t chunks = 0;
  [[nodiscard]] std::int64_t padded() const noexcept { return chunk * chunks; }
};

struct UnitLayout {
  std::string name;  ///< "embedding", "block 0", ..., "head"
  PartLayout parts[part_kinds];
  std::vector<std::int32_t> tensors;  ///< indices into ModelLayout::tensors, by offset
};

/// Units in order of the forward pass: 0 = embedding, 1 .. L = blocks, L + 1 = final norm and head.
/// A tied head has no matrix of its own: it acquires unit 0.
struct ModelLayout {
  std::vector<UnitLayout> units;
  std::vector<TensorLayout> tensors;
  std::vector<AdapterLayout> adapters;  ///< those of fused matrices one behind the other
  std::int64_t parameters = 0;          ///< sum of tensor counts, without gaps
  [[nodiscard]] int unit_count() const noexcept { return static_cast<int>(units.size()); }
  /// Index of the tensor called `name`, or -1.
  [[nodiscard]] std::int32_t find(const std::string& name) const noexcept;
};

/// Appends a tensor to `unit`'s part. `adjacent`: starts right after the tensor before it (fused groups).
/// Used by families to describe their units; finish_layout() then sets the grids.
void append_tensor(ModelLayout& layout, int unit, std::string name, std::vector<std::int64_t> shape,
                   bool adjacent = false, PartKind part = PartKind::trainable);
void finish_layout(ModelLayout& layout);

/// Gives `tensor` its place behind what `buffer` holds; `adjacent`: without a gap. The smaller step of append_tensor.
void place_tensor(PartLayout& buffer, TensorLayout& tensor, bool adjacent);

}  // namespace dstrain
