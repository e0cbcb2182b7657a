// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/attention_cudnn_graph.hpp"

#ifndef DSTRAIN_WITH_CUDNN_FRONTEND

namespace dstrain {

namespace cuda {
cudnn::MadePlan make_cudnn_plan(const cudnn::Call& /*call*/) {
  return {nullptr, "this build has no cuDNN frontend (docs/gpu.md)"};
}
}  // namespace cuda

namespace cudnn {
Description describe(const Call& /*call*/, const std::string& /*properties*/, int /*sm*/) {
  return {.problem = "this build has no cuDNN frontend"};
}
}  // namespace cudnn

}  // namespace dstrain

#else

#include <cuda_runtime.h>
#include <nvrtc.h>

// The frontend holds a normalisation that it compiles by itself with NVRTC, unused here: its calls end here, so that
// dstrain needs no library for them.
namespace dstrain::no_nvrtc {
template <typename... Arguments>
nvrtcResult call(Arguments... /*arguments*/) {
  return NVRTC_ERROR_INTERNAL_ERROR;
}
}  // namespace dstrain::no_nvrtc
#define nvrtcVersion ::dstrain::no_nvrtc::call
#define nvrtcCreateProgram ::dstrain::no_nvrtc::call
#define nvrtcDestroyProgram ::dstrain::no_nvrtc::call
#define nvrtcCompileProgram ::dstrain::no_nvrtc::call
#define nvrtcGetProgramLogSize ::dstrain::no_nvrtc::call
#define nvrtcGetProgramLog ::dstrain::no_nvrtc::call
#define nvrtcGetCUBINSize ::dstrain::no_nvrtc::call
#define nvrtcGetCUBIN ::dstrain::no_nvrtc::call
#define nvrtcGetErrorString(result) "NVRTC is not used"
#define CUDNN_FRONTEND_SKIP_JSON_LIB
#include <cudnn_frontend.h>

#include <algorithm>
#include <array>
#include <vector>

#include "core/device_runtime.hpp"

namespace dstrain::cudnn {

namespace {

namespace fe = cudnn_frontend;
using Tensor = std::shared_ptr<fe::graph::Tensor_attributes>;
using Attributes = fe::graph::Tensor_attributes;

/// Numbers of the operands, in the order in which pointers are handed over.
enum Uid : std::int64_t {
  uid_q = 1,
  uid_k,
  uid_v,
  uid_out,
  uid_statistics,
  uid_dout,
  uid_dq,
  uid_dk,
  uid_dv,
  uid_q_places,
  uid_kv_places,
  uid_out_places,
  uid_statistics_places,
  uid_lengths,
  uid_scale,
  uid_end
};

/// What the frontend says, in one line: it appends its own log of every engine.
std::string first_line(const fe::error_t& error) {
  const std::string& text = error.err_msg;
  return text.substr(0, std::min<std::size_t>(text.find('\n'), 300));
}

/// One call's graph. Rows are packed: every operand is [batch, heads, rows, head_dim] with a table of places (ragged
/// offsets) and lengths (padding mask).
class GraphOfCall {
 public:
  /// @param sm  what it is made for, known before its parts are; 0: the device in use
  explicit GraphOfCall(const Call& call, int sm = 0) : c_(call) {
    if (sm > 0) graph_.set_sm_version(sm);
    const auto io = call.dtype == DType::bf16 ? fe::DataType_t::BFLOAT16 : fe::DataType_t::HALF;
    graph_.set_io_data_type(io)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    q_places_ = table(uid_q_places, call.batch + 1);
    kv_places_ = table(uid_kv_places, call.batch + 1);
    out_places_ = table(uid_out_places, call.batch + 1);
    statistics_places_ = table(uid_statistics_places, call.batch + 1);
    lengths_ = table(uid_lengths, call.batch);
    scale_ = graph_.tensor(Attributes()
                               .set_uid(uid_scale)
                               .set_dim({1, 1, 1, 1})
                               .set_stride({1, 1, 1, 1})
                               .set_data_type(fe::DataType_t::FLOAT)
                               .set_is_pass_by_value(true));
    call.backward ? add_backward() : add_forward();
  }

  fe::graph::Graph& graph() noexcept { return graph_; }

  /// Everything up to compiled kernels. @return what went wrong
  std::string build(cudnnHandle_t handle) {
    for (const auto& step :
         {+[](GraphOfCall&g, cudnnHandle_t) { return g.graph_.validate(); },
          +[](GraphOfCall&g, cudnnHandle_t h) { return g.graph_.build_operation_graph(h); },
          +[](GraphOfCall&g, cudnnHandle_t) { return g.graph_.create_execution_plans({fe::HeurMode_t::A}); },
          +[](GraphOfCall&g, cudnnHandle_t) { return g.graph_.build_plan_at_index(0); },
          +[](GraphOfCall&g, cudnnHandle_t) { return g.graph_.prepare_variant_pack_template(); }}) {
      if (const fe::error_t e = step(*this, handle); e.is_bad()) return first_line(e);
    }
    uids_ = graph_.get_variant_pack_uids_sorted();
    for (const std::int64_t uid : uids_) {
      if (uid < uid_q || uid >= uid_end) return "cuDNN's graph has operands that it was not given";
    }
    return uids_.size() > uid_end ? "cuDNN's graph has operands twice" : "";
  }
  /// The operands that a run hands over, in this order.
  [[nodiscard]] const std::vector<std::int64_t>& uids() const noexcept { return uids_; }

 private:
  Tensor table(Uid uid, std::int64_t count) {
    return graph_.tensor(Attributes()
                             .set_uid(uid)
                             .set_dim({count, 1, 1, 1})
                             .set_stride({1, 1, 1, 1})
                             .set_data_type(fe::DataType_t::INT32));
  }
  void place(Attributes& t, Uid uid, std::int64_t heads, std::int64_t head, std::int64_t stride, const Tensor& places) {
    t.set_uid(uid)
        .set_dim({c_.batch, heads, c_.rows, c_.head_dim})
        .set_stride({c_.rows * stride, head, stride, 1})
        .set_ragged_offset(places);
  }
  void place_statistics(Attributes& t) {
    t.set_uid(uid_statistics)
        .set_dim({c_.batch, c_.heads, c_.rows, 1})
        .set_stride({c_.rows * c_.heads, 1, c_.heads, 1})
        .set_data_type(fe::DataType_t::FLOAT)
        .set_ragged_offset(statistics_places_);
  }
  Tensor input(Uid uid, std::int64_t heads, std::int64_t head, std::int64_t stride, const Tensor& places) {
    Attributes t;
    place(t, uid, heads, head, stride, places);
    return graph_.tensor(t);
  }
  void output(const Tensor& t, Uid uid, std::int64_t heads, std::int64_t head, std::int64_t stride,
              const Tensor& places) {
    place(*t, uid, heads, head, stride, places);
    t->set_output(true);
  }

  /// Queries see keys (row - window, row].
  template <typename Options>
  void set_options(Options& options) {
    options.set_attn_scale(scale_).set_padding_mask(true).set_seq_len_q(lengths_).set_seq_len_kv(lengths_);
    options.set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT).set_diagonal_band_right_bound(0);
    if (c_.window > 0) options.set_diagonal_band_left_bound(static_cast<int>(c_.window));
  }

  void add_forward() {
    const Tensor q = input(uid_q, c_.heads, c_.q_head, c_.q_stride, q_places_);
    const Tensor k = input(uid_k, c_.kv_heads, c_.kv_head, c_.kv_stride, kv_places_);
    const Tensor v = input(uid_v, c_.kv_heads, c_.kv_head, c_.kv_stride, kv_places_);
    fe::graph::SDPA_attributes options;
    options.set_generate_stats(true);
    set_options(options);
    const auto made = graph_.sdpa(q, k, v, options);
    output(made[0], uid_out, c_.heads, c_.head_dim, c_.out_stride, out_places_);
    place_statistics(*made[1]);
    made[1]->set_output(true);
  }

  void add_backward() {
    const Tensor q = input(uid_q, c_.heads, c_.q_head, c_.q_stride, q_places_);
    const Tensor k = input(uid_k, c_.kv_heads, c_.kv_head, c_.kv_stride, kv_places_);
    const Tensor v = input(uid_v, c_.kv_heads, c_.kv_head, c_.kv_stride, kv_places_);
    const Tensor out = input(uid_out, c_.heads, c_.head_dim, c_.out_stride, out_places_);
    const Tensor dout = input(uid_dout, c_.heads, c_.head_dim, c_.out_stride, out_places_);
    Attributes statistics;
    place_statistics(statistics);
    fe::graph::SDPA_backward_attributes options;
    set_options(options);
    options.set_deterministic_algorithm(c_.deterministic);
    const auto made = graph_.sdpa_backward(q, k, v, out, dout, graph_.tensor(statistics), options);
    output(made[0], uid_dq, c_.heads, c_.q_head, c_.q_stride, q_places_);
    output(made[1], uid_dk, c_.kv_heads, c_.kv_head, c_.kv_stride, kv_places_);
    output(made[2], uid_dv, c_.kv_heads, c_.kv_head, c_.kv_stride, kv_places_);
  }

  Call c_;
  fe::graph::Graph graph_;
  std::vector<std::int64_t> uids_;
  Tensor q_places_, kv_places_, out_places_, statistics_places_, lengths_, scale_;
};

}  // namespace

Description describe(const Call& call, const std::string& properties, int sm) {
  Description d;
  try {
    const auto device = std::make_shared<fe::DeviceProperties>();
    if (const auto e = device->deserialize({properties.begin(), properties.end()}); e.is_bad()) {
      d.problem = first_line(e);
      return d;
    }
    GraphOfCall made(call, sm);
    made.graph().set_device_properties(device);
    if (d.problem = made.build(nullptr); !d.problem.empty()) return d;
    std::vector<fe::BehaviorNote_t> notes;
    if (const auto e = made.graph().get_behavior_notes_for_plan_at_index(0, notes); e.is_bad())
      d.problem = first_line(e);
    if (const auto e = made.graph().get_plan_name_at_index(0, d.engine); e.is_bad()) d.problem = first_line(e);
    d.workspace_bytes = made.graph().get_workspace_size_plan_at_index(0);
    d.compiled_at_run_time =
        std::find(notes.begin(), notes.end(), fe::BehaviorNote_t::RUNTIME_COMPILATION) != notes.end();
  } catch (const std::exception& failure) {
    d.problem = failure.what();
  }
  return d;
}

}  // namespace dstrain::cudnn

namespace dstrain::cuda {

namespace {

namespace fe = cudnn_frontend;

void check(cudnnStatus_t status, const char* call) {
  if (status != CUDNN_STATUS_SUCCESS) throw CudaError(fmt::format("{} failed: {}", call, cudnnGetErrorString(status)));
}

/// One per process: it lives as long as the context.
cudnnHandle_t handle() {
  static cudnnHandle_t instance = [] {
    cudnnHandle_t made = nullptr;
    check(cudnnCreate(&made), "cudnnCreate");
    return made;
  }();
  return instance;
}

class GraphPlan final : public cudnn::Plan {
 public:
  explicit GraphPlan(const cudnn::Call& call) : graph_(call) {}

  std::string build() { return graph_.build(handle()); }

  [[nodiscard]] std::int64_t workspace_bytes() const override {
    return graph_.graph().get_workspace_size_plan_at_index(0);
  }

  void run(const Exec& exec, const cudnn::Operands& o, void* workspace) const override {
    float scale = o.scale;
    const std::array<const void*, cudnn::uid_end> by_uid = {
        nullptr, o.q,  o.k,        o.v,         o.out,        o.statistics,        o.dout,    o.dq,
        o.dk,    o.dv, o.q_places, o.kv_places, o.out_places, o.statistics_places, o.lengths, &scale};
    std::array<void*, cudnn::uid_end> pointers{};
    const std::vector<std::int64_t>& uids = graph_.uids();
    for (std::size_t i = 0; i < uids.size(); ++i)
      pointers[i] = const_cast<void*>(by_uid[static_cast<std::size_t>(uids[i])]);
    check(cudnnSetStream(handle(), static_cast<cudaStream_t>(exec.stream.native())), "cudnnSetStream");
    const auto e =
        graph_.graph().execute_plan_at_index(handle(), pointers.data(), static_cast<int>(uids.size()), workspace, 0);
    if (e.is_bad()) throw CudaError(fmt::format("cuDNN's attention failed: {}", cudnn::first_line(e)));
  }

 private:
  mutable cudnn::GraphOfCall graph_;
};

}  // namespace

cudnn::MadePlan make_cudnn_plan(const cudnn::Call& call) {
  try {
    auto plan = std::make_unique<GraphPlan>(call);
    if (auto problem = plan->build(); !problem.empty()) return {nullptr, std::move(problem)};
    return {std::move(plan), {}};
  } catch (const std::exception& failure) {
    return {nullptr, failure.what()};
  }
}

}  // namespace dstrain::cuda

#endif
