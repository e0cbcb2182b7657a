// SPDX-License-Identifier: Apache-2.0
/// `dstrain bench`: how fast this machine runs what training is made of.
#include <fmt/core.h>
#include <omp.h>

#include <array>
#include <nlohmann/json.hpp>

#include "comm/bootstrap.hpp"
#include "comm/mpi_communicator.hpp"
#include "commands/bench_parts.hpp"
#include "commands/commands.hpp"
#include "core/device_runtime.hpp"
#include "train/device_setup.hpp"

namespace dstrain::commands {
namespace {

constexpr const char* kBenchHelp =
    "usage: [mpirun -np N] dstrain bench gemm|attention|kernels|collectives|step [--model 110m] [--tokens 1024]\n"
    "       [--dtype float32|bfloat16|float16] [--device auto|cpu|cuda] [--device-oversubscribe] [--repeats 10]\n"
    "       [--lora] [--zero-stage 0] [--threads N] [--json]\n"
    "Times the matrix products of a model's layers, its attention, the other kernels, collectives of growing size, or "
    "whole\n"
    "training steps with random weights: median and best of the repeats, TFLOP/s (a step: 6N per token, LoRA 4N) and "
    "GB/s\n"
    "(collectives: busbw of nccl-tests). Models: nano, 15m, 110m, 0.5b, 1.5b, 1b, 7b, 8b, 70b.\n";

constexpr std::array<FlagSpec, 10> kBenchFlags = {{{"model"},
                                                   {"tokens"},
                                                   {"dtype"},
                                                   {"device"},
                                                   {"device-oversubscribe", false},
                                                   {"repeats"},
                                                   {"lora", false},
                                                   {"zero-stage"},
                                                   {"threads"},
                                                   {"json", false}}};
constexpr std::array<std::string_view, 1> kBenchPositions = {"WHAT"};

DType dtype_of_text(const std::string& text) {
  if (text == "float32") return DType::f32;
  if (text == "bfloat16") return DType::bf16;
  if (text == "float16") return DType::f16;
  throw ConfigError(fmt::format("--dtype {} is unknown", text), "command line", "use float32, bfloat16 or float16");
}

BenchOptions options_of(const ParsedWords& parsed) {
  BenchOptions o;
  o.model = parsed.text("model").value_or(o.model);
  o.dtype = dtype_of_text(parsed.text("dtype").value_or("float32"));
  o.tokens = parsed.integer_or("tokens", o.tokens);
  o.repeats = static_cast<int>(parsed.integer_or("repeats", o.repeats));
  o.zero_stage = static_cast<int>(parsed.integer_or("zero-stage", 0));
  o.lora = parsed.has("lora");
  if (o.tokens < 1 || o.tokens > (1 << 20) || o.repeats < 1 || o.repeats > 100000 || o.zero_stage < 0 ||
      o.zero_stage > 3) {
    throw ConfigError("bench: --tokens from 1 to 1048576, --repeats from 1 to 100000, --zero-stage from 0 to 3",
                      "command line");
  }
  return o;
}

BenchLines run_kind(const std::string& what, Communicator& comm, const BenchOptions& o) {
  if (what == "gemm") return bench_gemm(o);
  if (what == "attention") return bench_attention(o);
  if (what == "kernels") return bench_kernels(o);
  if (what == "collectives") return bench_collectives(comm, o);
  if (what == "step") return bench_step(comm, o);
  throw ConfigError(fmt::format("there is no bench {}", what), "command line",
                    "use gemm, attention, kernels, collectives or step");
}

void print(const BenchLines& lines, bool json) {
  if (json) {
    auto list = nlohmann::ordered_json::array();
    for (const auto& l : lines) {
      list.push_back({{"name", l.name},
                      {"median_s", l.median_s},
                      {"best_s", l.best_s},
                      {"tflops", l.flops / l.median_s * 1e-12},
                      {"gb_per_s", l.moved_bytes / l.median_s * 1e-9},
                      {"note", l.note}});
    }
    fmt::print("{}\n", list.dump(2));
    return;
  }
  fmt::print("{:<56} {:>11} {:>11} {:>9} {:>9}\n", "", "median ms", "best ms", "TFLOP/s", "GB/s");
  for (const auto& l : lines) {
    const auto rate = [&](double amount, double scale) {
      return amount > 0 ? fmt::format("{:.3f}", amount / l.median_s * scale) : std::string("-");
    };
    fmt::print("{:<56} {:>11.4f} {:>11.4f} {:>9} {:>9}  {}\n", l.name, l.median_s * 1e3, l.best_s * 1e3,
               rate(l.flops, 1e-12), rate(l.moved_bytes, 1e-9), l.note);
  }
}

ExitCode run_bench(MpiSession& session, const Words& words) {
  auto world = make_world_communicator();
  BenchOptions options;
  RunConfig device;
  std::unique_ptr<ParsedWords> parsed;
  on_all_ranks(*world, "read the flags", [&] {
    parsed = std::make_unique<ParsedWords>(words, kBenchFlags, kBenchPositions);
    options = options_of(*parsed);
    device.device = parsed->text("device").value_or("auto");
    device.device_oversubscribe = parsed->has("device-oversubscribe");
    omp_set_num_threads(static_cast<int>(parsed->integer_or("threads", session.topology().default_threads)));
  });
  const DeviceChoice choice = choose_run_device(*world, session.topology(), device);
  options.device = choice.device;
  world = communicator_for(std::move(world), choice, 600.0, session.topology().node_of_rank);
  const BenchLines lines = run_kind(parsed->position(0), *world, options);
  if (session.rank() == 0) {
    if (!parsed->has("json")) {
      const bool gpu = choice.device.kind == DeviceKind::cuda;
      fmt::print("{}, {} rank(s), {} repeats\n", gpu ? require_device_runtime().describe(choice.device.index) : "CPU",
                 session.size(), options.repeats);
    }
    print(lines, parsed->has("json"));
  }
  world->close();
  return ExitCode::good;
}

}  // namespace

ExitCode bench(const Words& words) {
  if (words.empty() || asks_for_help(words)) {
    fmt::print("{}", kBenchHelp);
    return words.empty() ? ExitCode::usage : ExitCode::good;
  }
  return static_cast<ExitCode>(spmd_main(0, nullptr, [&](MpiSession& session) { return run_bench(session, words); }));
}

}  // namespace dstrain::commands
