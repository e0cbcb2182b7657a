// SPDX-License-Identifier: Apache-2.0
/// Products of 16 x 8 x 16 by one warp on tensor cores, operands and sums in registers (mma.sync, compute capability
/// 8.0), and how fragments come out of shared memory. On a CPU the same by loops: a lane reads what the others hold.
///
/// A lane's place in a warp is (lane / 4, lane % 4) = (group, pair). A sum c[4] of 16 rows and 8 columns has rows
/// group, group, group + 8, group + 8 and columns 2 pair, 2 pair + 1 of each; two sums that lie side by side are,
/// narrowed, the first operand of a product over their 16 columns.
#pragma once

#include "kernels/cuda/simt.hpp"

namespace dstrain::DSTRAIN_KERNELS {

DSTRAIN_DEVICE int lane_group() { return lane_id() / 4; }
DSTRAIN_DEVICE int lane_pair() { return lane_id() % 4; }

/// 16 x 16 of the first operand, two elements in a register.
struct FragmentA {
  std::uint32_t r[4];
};
/// 16 x 16 of the second operand: two neighbours of 16 x 8.
struct FragmentB {
  std::uint32_t r[4];
};

/// Two elements of 16 bits, the first one low.
template <typename S>
DSTRAIN_DEVICE std::uint32_t pack(float low, float high) {
  S a, b;
  narrow(a, low);
  narrow(b, high);
  return static_cast<std::uint32_t>(a.bits) | static_cast<std::uint32_t>(b.bits) << 16;
}

/// The first operand out of two sums side by side.
template <typename S>
DSTRAIN_DEVICE FragmentA as_operand(const float* left, const float* right) {
  return {
      {pack<S>(left[0], left[1]), pack<S>(left[2], left[3]), pack<S>(right[0], right[1]), pack<S>(right[2], right[3])}};
}

#ifdef __CUDACC__
DSTRAIN_DEVICE unsigned shared_address(const void* p) { return static_cast<unsigned>(__cvta_generic_to_shared(p)); }

/// Four 8 x 8 matrices, whose rows the lanes name: lanes 8 i to 8 i + 7 those of matrix i.
template <bool transpose>
DSTRAIN_DEVICE void load_matrices(std::uint32_t* r, const void* row) {
  if constexpr (transpose) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row)));
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row)));
  }
}

DSTRAIN_DEVICE void multiply_add(float* c, const FragmentA& a, std::uint32_t b0, std::uint32_t b1, Bf16 /*storage*/) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b0), "r"(b1));
}
DSTRAIN_DEVICE void multiply_add(float* c, const FragmentA& a, std::uint32_t b0, std::uint32_t b1, F16 /*storage*/) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b0), "r"(b1));
}

/// Queues 16 bytes from global to shared memory, of which the first `bytes` are read and the others zero.
DSTRAIN_DEVICE void copy_16_bytes(void* to, const void* from, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes));
}
/// Until this thread's copies are there.
DSTRAIN_DEVICE void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }
#else
/// What ldmatrix does: register i of a lane is row `group` of matrix i, columns 2 pair and 2 pair + 1, or transposed.
template <bool transpose>
void load_matrices(std::uint32_t* r, const void* row) {
  static const void* rows[32][32];  // by warp and lane
  rows[warp_id()][lane_id()] = row;
  __syncwarp();
  for (int i = 0; i < 4; ++i) {
    const auto element = [&](int row_of_matrix, int column) {
      return static_cast<const std::uint16_t*>(rows[warp_id()][8 * i + row_of_matrix])[column];
    };
    const int group = lane_group();
    const int pair = 2 * lane_pair();
    const std::uint32_t low = transpose ? element(pair, group) : element(group, pair);
    const std::uint32_t high = transpose ? element(pair + 1, group) : element(group, pair + 1);
    r[i] = low | high << 16;
  }
  __syncwarp();
}

template <typename S>
void multiply_add(float* c, const FragmentA& a, std::uint32_t b0, std::uint32_t b1, S /*storage*/) {
  struct Operands {
    float a[16][16];
    float b[8][16];  ///< by columns
  };
  static Operands held[32];
  Operands& operands = held[warp_id()];
  const auto put = [](float* at, std::uint32_t two) {
    at[0] = widen(S{static_cast<std::uint16_t>(two & 0xffffU)});
    at[1] = widen(S{static_cast<std::uint16_t>(two >> 16)});
  };
  const int group = lane_group();
  const int pair = 2 * lane_pair();
  for (int i = 0; i < 4; ++i) put(operands.a[group + i % 2 * 8] + pair + i / 2 * 8, a.r[i]);
  put(operands.b[group] + pair, b0);
  put(operands.b[group] + pair + 8, b1);
  __syncwarp();
  for (int e = 0; e < 4; ++e) {
    const float* row = operands.a[group + e / 2 * 8];
    const float* column = operands.b[pair + e % 2];
    for (int k = 0; k < 16; ++k) c[e] += row[k] * column[k];  // products of 16-bit numbers are exact
  }
  __syncwarp();
}

inline void copy_16_bytes(void* to, const void* from, int bytes) {
  std::memset(to, 0, 16);
  std::memcpy(to, from, static_cast<std::size_t>(bytes));
}
inline void wait_for_copies() {}
#endif

/// Rows [row, row + 16), columns [k, k + 16) of a first operand stored [row][k].
template <typename S>
DSTRAIN_DEVICE FragmentA load_a(const S* tile, int ld, int row, int k) {
  FragmentA a;
  const int lane = lane_id();
  load_matrices<false>(a.r, tile + (row + lane % 16) * ld + k + lane / 16 * 8);
  return a;
}

/// Rows [k, k + 16), columns [n, n + 16) of a second operand stored [n][k].
template <typename S>
DSTRAIN_DEVICE FragmentB load_b_by_columns(const S* tile, int ld, int n, int k) {
  FragmentB b;
  const int lane = lane_id();
  load_matrices<false>(b.r, tile + (n + lane % 8 + lane / 16 * 8) * ld + k + lane / 8 % 2 * 8);
  return b;
}

/// The same of one stored [k][n].
template <typename S>
DSTRAIN_DEVICE FragmentB load_b_by_rows(const S* tile, int ld, int k, int n) {
  FragmentB b;
  const int lane = lane_id();
  load_matrices<true>(b.r, tile + (k + lane % 16) * ld + n + lane / 16 * 8);
  return b;
}

/// c[0], c[1] += a b for the two halves of b.
template <typename S>
DSTRAIN_DEVICE void multiply_add(float (*c)[4], const FragmentA& a, const FragmentB& b) {
  multiply_add(c[0], a, b.r[0], b.r[1], S{});
  multiply_add(c[1], a, b.r[2], b.r[3], S{});
}

}  // namespace dstrain::DSTRAIN_KERNELS
