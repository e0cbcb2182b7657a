// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/attention_cudnn.hpp"

#include <initializer_list>
#include <map>
#include <utility>
#include <vector>

#include "kernels/cuda/attention_cudnn_trial.hpp"
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/copy.hpp"

namespace dstrain::DSTRAIN_KERNELS {

namespace {

/// Filled by attention_prepare, read by steps. One thread of a rank computes.
struct Library {
  std::map<cudnn::Call, std::unique_ptr<cudnn::Plan>> plans;  ///< null: tried in vain
  std::string refused;                                        ///< why cuDNN is not used at all, or not for some calls
  bool failed = false;                                        ///< the trial did: nothing runs on it any more
  bool in_trial = false;
};
Library& library() {
  static Library instance;
  return instance;
}

const cudnn::Plan* plan_of(const cudnn::Call& call) {
  const auto at = library().plans.find(call);
  return at == library().plans.end() ? nullptr : at->second.get();
}

struct Step {
  cudnn::Batch batch;
  cudnn::Call call;
  const cudnn::Plan* plan;
};
/// Kept between calls, so that a step allocates nothing once they have grown.
struct Scratch {
  cudnn::Batches batches;
  std::vector<Step> steps;
  std::vector<std::int32_t> integers;
};
Scratch& scratch() {
  static thread_local Scratch instance;
  return instance;
}

bool aligned(std::initializer_list<const void*> pointers) {
  for (const void* p : pointers) {
    if (reinterpret_cast<std::uintptr_t>(p) % 16 != 0) return false;
  }
  return true;
}

/// Finds the graphs of all segments. False where one is missing.
bool find_steps(const AttentionShape& s, DType dtype, bool backward) {
  if (s.kernels == AttentionKernels::own || library().failed || !cudnn::why_not(s).empty() ||
      !cudnn::why_not_segments(s).empty())
    return false;
  Scratch& mine = scratch();
  mine.batches.sort(s);
  mine.steps.clear();
  for (const cudnn::Batch& batch : mine.batches.list()) {
    const auto call = cudnn::call_of(s, dtype, backward, batch.count, batch.rows);
    const cudnn::Plan* plan = call ? plan_of(*call) : nullptr;
    if (plan == nullptr) return false;
    mine.steps.push_back({batch, *call, plan});
  }
  return true;
}

constexpr std::int64_t padded(std::int64_t integers) { return (integers + 3) / 4 * 4; }

/// A batch's places in q, k and v, out, statistics, then its lengths.
void list_places(const AttentionShape& s, const Step& step) {
  const cudnn::Call& c = step.call;
  std::vector<std::int32_t>& integers = scratch().integers;
  const auto segment = [&](std::int64_t i) { return scratch().batches.segment(step.batch.first + i); };
  for (const std::int64_t stride : {c.q_stride, c.kv_stride, c.out_stride, c.heads}) {
    for (std::int64_t i = 0; i < padded(c.batch + 1); ++i) {
      const std::int64_t row = i < c.batch ? s.cu_q[segment(i)] : s.cu_q[segment(c.batch - 1) + 1];
      integers.push_back(static_cast<std::int32_t>(row * stride));
    }
  }
  for (std::int64_t i = 0; i < padded(c.batch); ++i)
    integers.push_back(i < c.batch ? s.cu_q[segment(i) + 1] - s.cu_q[segment(i)] : 0);
}

/// All steps' integers, on the device at `to`.
void upload_places(const Exec& exec, const AttentionShape& s, char* to) {
  std::vector<std::int32_t>& integers = scratch().integers;
  integers.clear();
  for (const Step& step : scratch().steps) list_places(s, step);
  if (!integers.empty())
    copy_from_host(exec, to, integers.data(), static_cast<std::int64_t>(integers.size() * sizeof(std::int32_t)));
}

/// Points at the integers of the step that begin at `at`, and moves behind them.
void take_places(cudnn::Operands& operands, const std::int32_t*& at, std::int64_t batch) {
  for (const std::int32_t** places : {&operands.q_places, &operands.kv_places, &operands.out_places,
                                      &operands.statistics_places, &operands.lengths}) {
    *places = at;
    at += padded(places == &operands.lengths ? batch : batch + 1);
  }
}

/// statistics[chunk of heads][row][head of the chunk] = lse[head][row] for rows [begin, end), or the other way round.
void order_statistics(const Exec& exec, float* statistics, float* lse_NT, std::int64_t begin, std::int64_t end,
                      std::int64_t T, std::int64_t heads, std::int64_t chunk, bool to_lse) {
  const std::int64_t rows = end - begin;
  for_each_element(exec, rows * heads, [=] __device__(std::int64_t i) {
    const std::int64_t head = i / rows;
    const std::int64_t row = begin + i % rows;
    float& ours = lse_NT[head * T + row];
    float& theirs = statistics[head / chunk * T * chunk + row * chunk + head % chunk];
    if (to_lse) {
      ours = theirs;
    } else {
      theirs = ours;
    }
  });
}

/// Where the heads of a chunk of key heads begin.
struct Columns {
  std::int64_t q, kv, out, statistics;
};
Columns columns_of(const cudnn::Call& c, std::int64_t chunk, std::int64_t T) {
  return {chunk * c.heads * c.q_head, chunk * c.kv_heads * c.kv_head, chunk * c.heads * c.head_dim,
          chunk * T * c.heads};
}

}  // namespace

bool cudnn_forward(const Exec& exec, Data out, float* lse_NT, ConstData q, ConstData k, ConstData v,
                   const AttentionShape& s, char* workspace) {
  if (!aligned({out.data, q.data, k.data, v.data}) || !find_steps(s, q.dtype, false)) return false;
  if (scratch().steps.empty()) return true;
  const cudnn::Pieces pieces = cudnn::pieces_of(s);
  upload_places(exec, s, workspace);
  cudnn::Operands o;
  o.q = q.data, o.k = k.data, o.v = v.data, o.out = out.data;
  o.statistics = reinterpret_cast<float*>(workspace + pieces.integers);
  o.scale = s.scale;
  const auto* at = reinterpret_cast<const std::int32_t*>(workspace);
  for (const Step& step : scratch().steps) {
    take_places(o, at, step.call.batch);
    step.plan->run(exec, o, workspace + pieces.integers + pieces.statistics);
  }
  if (lse_NT != nullptr)
    order_statistics(exec, o.statistics, lse_NT, s.cu_q[0], s.cu_q[s.segments], s.T, s.heads, s.heads, true);
  return true;
}

bool cudnn_backward(const Exec& exec, Data dq, Data dk, Data dv, ConstData dout, ConstData out, const float* lse_NT,
                    ConstData q, ConstData k, ConstData v, const AttentionShape& s, char* workspace) {
  if (!aligned({dq.data, dk.data, dv.data, dout.data, out.data, q.data, k.data, v.data}) ||
      !find_steps(s, q.dtype, true))
    return false;
  const cudnn::Pieces pieces = cudnn::pieces_of(s);
  upload_places(exec, s, workspace);
  auto* statistics = reinterpret_cast<float*>(workspace + pieces.integers);
  const auto* at = reinterpret_cast<const std::int32_t*>(workspace);
  std::int64_t ordered_by = 0;
  cudnn::Operands o;
  o.scale = s.scale;
  for (const Step& step : scratch().steps) {
    const cudnn::Call& c = step.call;
    if (ordered_by != c.heads)
      order_statistics(exec, statistics, const_cast<float*>(lse_NT), s.cu_q[0], s.cu_q[s.segments], s.T, s.heads,
                       c.heads, false);
    ordered_by = c.heads;
    take_places(o, at, c.batch);
    for (std::int64_t chunk = 0; chunk < s.kv_heads / c.kv_heads; ++chunk) {
      const Columns at_head = columns_of(c, chunk, s.T);
      o.q = q.at(at_head.q).data, o.k = k.at(at_head.kv).data, o.v = v.at(at_head.kv).data;
      o.dq = dq.at(at_head.q).data, o.dk = dk.at(at_head.kv).data, o.dv = dv.at(at_head.kv).data;
      o.out = const_cast<void*>(out.at(at_head.out).data), o.dout = dout.at(at_head.out).data;
      o.statistics = statistics + at_head.statistics;
      step.plan->run(exec, o, workspace + pieces.integers + pieces.statistics);
    }
  }
  return true;
}

void attention_prepare(const Exec& exec, const AttentionShape& s, DType dtype, bool backward) {
  Library& lib = library();
  if (s.kernels == AttentionKernels::own || lib.failed || lib.in_trial) return;
  const auto refuse = [&](const std::string& why) {
    if (lib.refused.empty())
      warn_person(text_of("attention runs on dstrain's own kernels where cuDNN does not: {}", why));
    lib.refused = why;
  };
  if (dtype == DType::f32) return refuse("cuDNN's attention is for 16 bits");
  if (const auto why = cudnn::why_not(s); !why.empty()) return refuse(std::string(why));
  bool made_any = false;
  for (const bool direction : {false, true}) {
    if (direction && !backward) continue;
    for (const cudnn::Call& call : cudnn::calls_for(s, dtype, direction)) {
      if (lib.plans.count(call) > 0) continue;
      cudnn::MadePlan made = make_cudnn_plan(call);
      if (made.plan != nullptr && made.plan->workspace_bytes() > cudnn::workspace_bytes(call)) {
        made.problem = text_of("cuDNN's graph of {} segments of {} rows wants {} bytes of workspace, {} were planned",
                               call.batch, call.rows, made.plan->workspace_bytes(), cudnn::workspace_bytes(call));
        made.plan.reset();
      }
      if (made.plan == nullptr) refuse(made.problem);
      made_any = made_any || made.plan != nullptr;
      lib.plans.emplace(call, std::move(made.plan));
    }
  }
  if (!made_any) return;
  lib.in_trial = true;
  const std::string difference = try_cudnn(exec, s, dtype, backward);
  lib.in_trial = false;
  if (difference.empty()) return;
  lib.failed = true;
  lib.refused = difference;
  warn_person(text_of("cuDNN's attention is not used, dstrain's own kernels are: {}", difference));
}

std::string attention_choice(const AttentionShape& s, DType dtype, bool backward) {
  if (s.kernels == AttentionKernels::own) return "own kernels";
  for (const auto why : {cudnn::why_not(s), cudnn::why_not_segments(s)}) {
    if (!why.empty()) return "own kernels: " + std::string(why);
  }
  if (dtype == DType::f32) return "own kernels: cuDNN's attention is for 16 bits";
  if (!find_steps(s, dtype, backward))
    return "own kernels: " +
           (library().refused.empty() ? std::string("cuDNN has no graph of these segments") : library().refused);
  std::int64_t fewest = s.heads;
  for (const Step& step : scratch().steps) fewest = step.call.heads < fewest ? step.call.heads : fewest;
  return text_of("cuDNN, {} of {} heads at a time", fewest, s.heads);
}

}  // namespace dstrain::DSTRAIN_KERNELS
