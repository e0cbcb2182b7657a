// SPDX-License-Identifier: Apache-2.0
/// `dstrain bench gemm|attention|kernels`: the operations of one model's layers, each by itself.
#include <array>
#include <cstdint>

#include "commands/bench_parts.hpp"
#include "core/device_runtime.hpp"
#include "core/host_mirror.hpp"
#include "core/parallel.hpp"
#include "core/rng.hpp"
#include "kernels/ops.hpp"
#include "model/decoder_buffers.hpp"
#include "model/model_spec.hpp"

namespace dstrain::commands {

BenchMemory::~BenchMemory() {
  for (void* memory : taken_) {
    if (stream_.on_device()) {
      device_runtime()->release(memory);
    } else {
      ::operator delete (memory, std::align_val_t{4096});
    }
  }
}

void* BenchMemory::bytes(std::int64_t bytes) {
  const std::int64_t size = std::max<std::int64_t>(bytes, 64);
  void* memory = stream_.on_device() ? require_device_runtime().allocate(size)
                                     : ::operator new (static_cast<std::size_t>(size), std::align_val_t{4096});
  taken_.push_back(memory);
  return memory;
}

Data BenchMemory::random(std::int64_t count, DType dtype) {
  const auto element = static_cast<std::int64_t>(size_of(dtype));
  const Data data{bytes(count * element), dtype};
  HostMirror mirror(stream_);
  void* at = mirror.fill(data.data, count * element);
  const Rng rng(7, RngSite::synthetic_data, 0, 0);
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = 2.0F * rng.uniform(static_cast<std::uint64_t>(i)) - 1.0F;
    if (dtype == DType::f32) static_cast<float*>(at)[i] = value;
    if (dtype == DType::bf16) static_cast<bfloat16*>(at)[i] = bfloat16(value);
    if (dtype == DType::f16) static_cast<float16*>(at)[i] = float16(value);
  }
  mirror.store();
  return data;
}

namespace {

/// The first `n` of 0, 1, 2 ... modulo `below`, on the device.
const std::int32_t* ramp(BenchMemory& memory, const Stream& stream, std::int64_t n, std::int64_t below) {
  auto* data = static_cast<std::int32_t*>(memory.bytes(n * 4));
  HostMirror mirror(stream);
  auto* at = static_cast<std::int32_t*>(mirror.fill(data, n * 4));
  for (std::int64_t i = 0; i < n; ++i) at[i] = static_cast<std::int32_t>(i * 7919 % below);
  mirror.store();
  return data;
}

}  // namespace

BenchLines bench_gemm(const BenchOptions& o) {
  const DecoderSizes sizes(preset_spec(o.model));
  const Stream stream(o.device, nullptr);
  BenchLines lines;
  for (const Product& p : decoder_products(sizes, o.dtype, o.tokens, true)) {
    if (p.accumulate) continue;
    const MatmulShape& s = p.shape;
    BenchMemory memory(stream);
    const Data a = memory.random(s.M * s.K, p.a_b), b = memory.random(s.K * s.N, p.a_b);
    const Data c{memory.bytes(s.M * s.N * static_cast<std::int64_t>(size_of(p.c))), p.c};
    const std::int64_t space = ops::matmul_workspace_bytes(s, p.a_b, p.c, o.device.kind);
    const Exec exec{stream, memory.bytes(space), space};
    auto line =
        measure(fmt::format("{} x {} x {} {}{}", s.M, s.N, s.K, s.transpose_a ? 'T' : 'N', s.transpose_b ? 'T' : 'N'),
                o.repeats, stream, [&] { ops::matmul(exec, c, a, b, s, false); });
    line.flops = 2.0 * static_cast<double>(s.M) * static_cast<double>(s.N) * static_cast<double>(s.K);
    line.note = fmt::format("{} to {}", name_of(p.a_b), name_of(p.c));
    lines.push_back(line);
  }
  return lines;
}

namespace {

/// Both passes over one segment, by the kernels that were asked for.
BenchLines time_attention(const BenchOptions& o, AttentionKernels kernels) {
  const DecoderSizes s(preset_spec(o.model));
  const Stream stream(o.device, nullptr);
  BenchMemory memory(stream);
  const std::array<std::int32_t, 2> cu = {0, static_cast<std::int32_t>(o.tokens)};
  AttentionShape a{};
  a.T = o.tokens;
  a.segments = 1;
  a.cu_q = a.cu_k = cu.data();
  a.max_seqlen = cu[1];
  a.heads = s.heads;
  a.kv_heads = s.kv_heads;
  a.head_dim = s.head_dim;
  a.q_stride = a.kv_stride = s.qkv_width();
  a.out_stride = s.Q;
  a.scale = 0.1F;
  a.kernels = kernels;
  const Data qkv = memory.random(o.tokens * s.qkv_width(), o.dtype),
             dqkv = memory.random(o.tokens * s.qkv_width(), o.dtype);
  const Data out = memory.random(o.tokens * s.Q, o.dtype), dout = memory.random(o.tokens * s.Q, o.dtype);
  auto* lse = static_cast<float*>(memory.bytes(o.tokens * s.heads * 4));
  const std::int64_t space = ops::attention_workspace_bytes(a, max_threads(), o.device.kind);
  const Exec exec{stream, memory.bytes(space), space};
  ops::attention_prepare(exec, a, o.dtype, true);
  // Two products of heads x T x T/2 x head_dim forward, five backward.
  const double product = static_cast<double>(s.Q) * static_cast<double>(o.tokens) * static_cast<double>(o.tokens);
  auto forward = measure(
      fmt::format("forward, {} tokens, {} on {} heads of {}", o.tokens, s.heads, s.kv_heads, s.head_dim), o.repeats,
      stream, [&] { ops::attention_forward(exec, out, lse, qkv, qkv.at(s.k_at()), qkv.at(s.v_at()), a); });
  forward.flops = 2 * product;
  auto backward = measure("backward", o.repeats, stream, [&] {
    ops::attention_backward(exec, dqkv, dqkv.at(s.k_at()), dqkv.at(s.v_at()), dout, out, lse, qkv, qkv.at(s.k_at()),
                            qkv.at(s.v_at()), a);
  });
  backward.flops = 5 * product;
  if (o.device.kind == DeviceKind::cuda) {
    forward.note = ops::attention_choice(a, o.dtype, false, o.device.kind);
    backward.note = ops::attention_choice(a, o.dtype, true, o.device.kind);
  }
  return {forward, backward};
}

}  // namespace

BenchLines bench_attention(const BenchOptions& o) {
  BenchLines lines = time_attention(o, AttentionKernels::own);
  if (o.device.kind != DeviceKind::cuda || o.dtype == DType::f32) return lines;
  for (const AttentionKernels kernels : {AttentionKernels::cudnn, AttentionKernels::cudnn_any_order}) {
    for (auto& line : time_attention(o, kernels)) lines.push_back(std::move(line));
  }
  return lines;
}

BenchLines bench_kernels(const BenchOptions& o) {
  const DecoderSizes s(preset_spec(o.model));
  const Stream stream(o.device, nullptr);
  BenchMemory memory(stream);
  const std::int64_t T = o.tokens;
  const std::int64_t space = ops::rms_norm_workspace_bytes({T, s.D}, o.device.kind);
  const Exec exec{stream, memory.bytes(space), space};
  const auto element = static_cast<double>(size_of(o.dtype));
  BenchLines lines;
  const auto add = [&](std::string name, double bytes, const auto& call) {
    lines.push_back(measure(std::move(name), o.repeats, stream, call));
    lines.back().moved_bytes = bytes;
  };
  const auto row = static_cast<double>(T * s.D) * element;

  const Data x = memory.random(T * s.D, o.dtype), r = memory.random(T * s.D, o.dtype);
  const Data y = memory.random(T * s.D, o.dtype), sum = memory.random(T * s.D, o.dtype),
             w = memory.random(s.D, o.dtype);
  auto* rstd = static_cast<float*>(memory.bytes(T * 4));
  auto* dw = static_cast<float*>(memory.bytes(s.D * 4));
  add("residual + RMSNorm", 4 * row, [&] { ops::rms_norm_forward(exec, y, sum, rstd, x, r, w, 1e-5F, {T, s.D}); });
  add("RMSNorm backward", 4 * row, [&] {
    ops::rms_norm_backward(exec, r, dw, y, sum, w, rstd, {T, s.D}, true, false);
  });

  const Data gate_up = memory.random(T * 2 * s.F, o.dtype), hidden = memory.random(T * s.F, o.dtype);
  const double wide = static_cast<double>(T * s.F) * element;
  add("SwiGLU", 3 * wide, [&] { ops::activation_forward(exec, hidden, gate_up, {T, s.F}); });
  add("SwiGLU backward", 5 * wide, [&] { ops::activation_backward(exec, gate_up, hidden, gate_up, {T, s.F}); });

  const std::int64_t half = s.head_dim / 2;
  const Data qkv = memory.random(T * s.qkv_width(), o.dtype);
  const Data cos = memory.random(T * half, DType::f32), sin = memory.random(T * half, DType::f32);
  const std::int32_t* positions = ramp(memory, stream, T, T);
  add("RoPE", 2.0 * static_cast<double>(T * (s.Q + s.KV)) * element, [&] {
    ops::rope(exec, qkv, cos.as<float>(), sin.as<float>(), positions,
              {.T = T, .heads = s.heads + s.kv_heads, .head_dim = s.head_dim, .stride = s.qkv_width()}, false);
  });

  const std::int64_t rows = std::min(s.chunk_rows, T);
  const Data logits = memory.random(rows * s.V, DType::f32);
  auto* nll = static_cast<float*>(memory.bytes(rows * 4));
  const Data weight = memory.random(rows, DType::f32);
  const std::int32_t* targets = ramp(memory, stream, T, s.V);
  add("cross entropy with gradient", 12.0 * static_cast<double>(rows * s.V),
      [&] { ops::cross_entropy(exec, logits, nll, logits.as<float>(), targets, weight.as<float>(), rows, s.V, s.V); });

  const Data table = memory.random(s.V * s.D, DType::f32);
  add("embedding backward, added", row + 8.0 * static_cast<double>(T * s.D),
      [&] { ops::embedding_backward(exec, table.as<float>(), y, targets, T, s.D, s.V, true); });

  const std::int64_t count = std::int64_t{16} << 20;
  const Data master = memory.random(count, DType::f32), gradient = memory.random(count, DType::f32);
  const Data m = memory.random(count, DType::f32);
  auto* v = static_cast<float*>(memory.bytes(count * 4));
  zero_bytes(stream, v, count * 4);
  const Data copy{memory.bytes(count * 2), DType::bf16};
  add("AdamW, 16 Mi elements", 30.0 * static_cast<double>(count), [&] {
    ops::adamw(
        exec, master.as<float>(), m.as<float>(), v, gradient.as<float>(), copy, count,
        {.lr = 1e-4, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01, .step = 10, .gradient_scale = 1});
  });
  return lines;
}

}  // namespace dstrain::commands
