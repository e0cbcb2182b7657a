// SPDX-License-Identifier: Apache-2.0
/// Muon on slices: a hidden matrix needs its whole direction at once, so the slices of each are sent to one rank,
/// orthogonalised there and sent back. Jordan et al. (2024); step size and decay of Liu et al., "Muon is Scalable for
/// LLM Training", arXiv:2502.16982. Everything else takes the AdamW that stands beside it there.
#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "kernels/ops/adafactor.hpp"
#include "zero/newton_schulz.hpp"
#include "zero/slice_optimizer.hpp"
#include "zero/slices.hpp"

namespace dstrain {

namespace {

/// A part of a matrix on a rank.
struct Piece {
  int rank = 0;
  std::int64_t begin = 0;
  std::int64_t count = 0;
};

struct Matrix {
  std::int32_t tensor = 0;
  MatrixShape shape;
  int slice = -1;             ///< of this rank: index into owned; -1: none
  std::vector<Piece> pieces;  ///< of all ranks; empty where every rank keeps everything
};

/// The matrices that are orthogonalised, the largest first: neighbours cost about the same.
std::vector<std::int32_t> orthogonal_tensors(const ZeroBuffers& z, const ModelLayout& layout) {
  std::vector<std::int32_t> tensors;
  for (const TensorLayout& tensor : layout.tensors) {
    const TensorUpdate& update = z.updates[static_cast<std::size_t>(tensor.index)];
    if (tensor.part == PartKind::trainable && update.kind == TensorUpdate::Kind::orthogonal)
      tensors.push_back(tensor.index);
  }
  std::stable_sort(tensors.begin(), tensors.end(), [&](std::int32_t a, std::int32_t b) {
    return layout.tensors[static_cast<std::size_t>(a)].count > layout.tensors[static_cast<std::size_t>(b)].count;
  });
  return tensors;
}

/// Elements of the largest matrix.
std::int64_t largest_matrix(const ZeroBuffers& z, const ModelLayout& layout) {
  const auto tensors = orthogonal_tensors(z, layout);
  return tensors.empty() ? 0 : layout.tensors[static_cast<std::size_t>(tensors.front())].count;
}

class Muon final : public SliceOptimizer {
 public:
  explicit Muon(const SliceOptimizerContext& context) : context_(context) {
    const ZeroBuffers& z = context.buffers();
    const View matrices = context.memory.view(z.scratch.matrix);
    gathered_ = matrices.slice(0, std::min(largest_matrix(z, context.layout), matrices.count));
    passing_ = matrices.slice(gathered_.count, matrices.count - gathered_.count);
    const View iterates = context.memory.view(z.scratch.iterates);
    iterates_ = {iterates.data, iterates.dtype};
    const View workspace = context.memory.view(z.scratch.workspace);
    exec_ = {context.exec.stream, workspace.data, workspace.count};
    std::vector<int> matrix_of(context.layout.tensors.size(), -1);
    for (const std::int32_t tensor : orthogonal_tensors(z, context.layout)) {
      matrix_of[static_cast<std::size_t>(tensor)] = static_cast<int>(matrices_.size());
      matrices_.push_back({tensor, matrix_shape(context.layout.tensors[static_cast<std::size_t>(tensor)]), -1, {}});
      newton_schulz_prepare(matrices_.back().shape.rows, matrices_.back().shape.columns,
                            context.exec.stream.device().kind);
    }
    for (std::size_t i = 0; i < context.owned.size(); ++i) {
      const int m = matrix_of[static_cast<std::size_t>(context.owned[i].tensor)];
      if (m >= 0) matrices_[static_cast<std::size_t>(m)].slice = static_cast<int>(i);
    }
    if (!sharded()) return;
    for (int rank = 0; rank < context.comm.size(); ++rank) {
      for (const OwnedSlice& slice : kept_slices(context.layout, z, rank)) {
        const int m = matrix_of[static_cast<std::size_t>(slice.tensor)];
        if (m >= 0) matrices_[static_cast<std::size_t>(m)].pieces.push_back({rank, slice.begin, slice.count});
      }
    }
  }

  void step(const StepParameters& p, const std::vector<TensorRates>& rates, const UnitsUpdated& /*updated*/) override {
    for (std::size_t i = 0; i < context_.owned.size(); ++i) step_slice(i, p, rates);
    const auto ranks = static_cast<std::size_t>(context_.comm.size());
    for (std::size_t first = 0; first < matrices_.size(); first += ranks) {
      const std::size_t last = std::min(matrices_.size(), first + ranks);
      for (std::size_t m = first; m < last; ++m) gather(matrices_[m], static_cast<int>(m - first));
      const std::size_t mine = first + static_cast<std::size_t>(context_.comm.rank());
      if (mine < last) {
        const MatrixShape& shape = matrices_[mine].shape;
        newton_schulz(exec_, gathered_.as<float>(), shape.rows, shape.columns,
                      context_.buffers().options.optim.newton_schulz_steps, iterates_);
      }
      for (std::size_t m = first; m < last; ++m) {
        scatter(matrices_[m], static_cast<int>(m - first));
        apply(matrices_[m], p, rates);
      }
    }
  }

 private:
  [[nodiscard]] bool sharded() const { return context_.buffers().scheme.sharded_state && context_.comm.size() > 1; }
  [[nodiscard]] bool on_device() const { return context_.exec.stream.on_device(); }
  [[nodiscard]] bool is_owner(int owner) const { return context_.comm.rank() == owner; }
  [[nodiscard]] float* direction_of(const Matrix& m) const {
    return context_.owned[static_cast<std::size_t>(m.slice)].gradient;
  }
  [[nodiscard]] View gathered(const Piece& piece) const { return gathered_.slice(piece.begin, piece.count); }

  /// AdamW for what is no hidden matrix; momentum for the others, whose direction takes the gradient's place.
  void step_slice(std::size_t index, const StepParameters& p, const std::vector<TensorRates>& rates) const {
    const OwnedSlice& slice = context_.owned[index];
    if (slice.gradient == nullptr) return;
    const TensorRates& own = rates[static_cast<std::size_t>(slice.tensor)];
    if (context_.buffers().updates[static_cast<std::size_t>(slice.tensor)].kind != TensorUpdate::Kind::orthogonal) {
      update_slice(context_, index, p, own);
      return;
    }
    const UpdateArrays arrays{slice.gradient, slice.gradient, {slice.state("momentum_buffer"), nullptr, nullptr}, {}};
    ops::update(context_.exec, UpdateRule::momentum, arrays, slice.count,
                update_parameters(context_.buffers().options.optim, p, own));
  }

  /// All pieces of a matrix to its owner. Matrix after matrix in the same order on all ranks: nobody waits in a circle.
  void gather(const Matrix& m, int owner) {
    if (!sharded()) {
      if (is_owner(owner)) copy(gathered_.as<float>(), direction_of(m), m.shape.rows * m.shape.columns);
      return;
    }
    if (on_device()) return gather_on_device(m, owner);
    for (const Piece& piece : m.pieces) {
      if (is_owner(piece.rank) && is_owner(owner)) {
        copy(gathered(piece).as<float>(), direction_of(m), piece.count);
      } else if (is_owner(owner)) {
        context_.comm.recv(gathered(piece), piece.rank, "muon: slices of a matrix");
      } else if (is_owner(piece.rank)) {
        context_.comm.send(ConstView(direction_of(m), piece.count, DType::f32), owner, "muon: slices of a matrix");
      }
    }
  }

  /// The way back.
  void scatter(const Matrix& m, int owner) {
    if (!sharded()) {
      const std::int64_t count = m.shape.rows * m.shape.columns;
      if (is_owner(owner)) copy(direction_of(m), gathered_.as<float>(), count);
      if (context_.comm.size() > 1)
        context_.comm.broadcast(View(direction_of(m), count, DType::f32), owner, context_.exec.stream,
                                "muon: an update");
      return;
    }
    if (on_device()) return scatter_on_device(m, owner);
    for (const Piece& piece : m.pieces) {
      if (is_owner(piece.rank) && is_owner(owner)) {
        copy(direction_of(m), gathered(piece).as<float>(), piece.count);
      } else if (is_owner(owner)) {
        context_.comm.send(gathered(piece), piece.rank, "muon: slices of an update");
      } else if (is_owner(piece.rank)) {
        context_.comm.recv(View(direction_of(m), piece.count, DType::f32), owner, "muon: slices of an update");
      }
    }
  }

  /// Between GPUs there are collectives and no messages: every rank receives each piece, and those that do not own the
  /// matrix drop it. Twice the matrix travels to each rank, along the cards' own links.
  void gather_on_device(const Matrix& m, int owner) {
    const View whole = is_owner(owner) ? gathered_ : passing_;
    for (const Piece& piece : m.pieces) {
      const View at = whole.slice(piece.begin, piece.count);
      if (is_owner(piece.rank)) copy(at.as<float>(), direction_of(m), piece.count);
      context_.comm.broadcast(at, piece.rank, context_.exec.stream, "muon: slices of a matrix");
    }
  }
  void scatter_on_device(const Matrix& m, int owner) {
    const View whole = (is_owner(owner) ? gathered_ : passing_).slice(0, m.shape.rows * m.shape.columns);
    context_.comm.broadcast(whole, owner, context_.exec.stream, "muon: an update");
    for (const Piece& piece : m.pieces) {
      if (is_owner(piece.rank)) copy(direction_of(m), whole.as<float>() + piece.begin, piece.count);
    }
  }

  void copy(float* to, const float* from, std::int64_t count) const {
    copy_bytes(context_.exec.stream, to, from, count * static_cast<std::int64_t>(sizeof(float)));
  }

  /// p *= 1 - lr * wd;  p -= lr * 0.2 sqrt(max(rows, columns)) * u: the update's root mean square is that of AdamW's.
  void apply(const Matrix& m, const StepParameters& p, const std::vector<TensorRates>& rates) const {
    if (m.slice < 0) return;
    const auto index = static_cast<std::size_t>(m.slice);
    const OwnedSlice& slice = context_.owned[index];
    const TensorRates& own = rates[static_cast<std::size_t>(m.tensor)];
    const double lr = p.lr * own.lr_factor;
    const double adjusted = lr * 0.2 * std::sqrt(static_cast<double>(std::max(m.shape.rows, m.shape.columns)));
    ops::apply_update(context_.exec, slice.master, nullptr, slice.gradient, context_.compute_copy(index), slice.count,
                      adjusted, 0.0, lr * own.weight_decay);
  }

  SliceOptimizerContext context_;
  Exec exec_;
  std::vector<Matrix> matrices_;
  View gathered_;
  View passing_;  ///< between GPUs: room for matrices of others
  Data iterates_;
};

}  // namespace

std::unique_ptr<SliceOptimizer> make_muon(const SliceOptimizerContext& context) {
  return std::make_unique<Muon>(context);
}

void plan_muon(MemoryPlan& plan, ZeroBuffers& z, const ModelLayout& layout) {
  std::int64_t iterates = 0;
  std::int64_t workspace = 0;
  for (const std::int32_t index : orthogonal_tensors(z, layout)) {
    const TensorLayout& tensor = layout.tensors[static_cast<std::size_t>(index)];
    const MatrixShape shape = matrix_shape(tensor);
    iterates = std::max(iterates, newton_schulz_elements(shape.rows, shape.columns));
    workspace = std::max(workspace, newton_schulz_workspace_bytes(shape.rows, shape.columns, plan.target()));
  }
  const bool passes = plan.target() == DeviceKind::cuda && z.scheme.sharded_state && z.ranks > 1;
  const std::int64_t matrices = passes ? 2 : 1;  // between GPUs matrices of others pass through
  z.scratch.matrix =
      plan.add("optimizer/muon_matrix", matrices * largest_matrix(z, layout), DType::f32, phase_optimizer);
  z.scratch.iterates = plan.add("optimizer/muon_iterates", iterates, DType::bf16, phase_optimizer);
  z.scratch.workspace = plan.add("workspace/muon", workspace, DType::u8, phase_optimizer);
}

}  // namespace dstrain
