// SPDX-License-Identifier: Apache-2.0
/// `dstrain compare`: logits, loss and every gradient of a model against what another program computed.
#include "model/compare.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "commands/commands.hpp"
#include "commands/local_model.hpp"
#include "commands/words.hpp"
#include "core/host_mirror.hpp"
#include "core/parallel.hpp"

namespace dstrain::commands {
namespace {

constexpr const char* kCompareHelp =
    "usage: dstrain compare MODEL_DIR reference.safetensors [--dtype float32|bfloat16|float16] "
    "[--device auto|cpu|cuda] [--gradient_checkpointing false] [--json]\n"
    "The reference holds input_ids, attention_mask, labels, logits, loss and grad.<name> of one right-padded batch.\n"
    "Exit code 0 where all agree: float32 logits and loss to 1e-5 + 1e-5 |x|, gradients to 1e-4 in their 2-norm.\n";

constexpr std::array<FlagSpec, 4> kCompareFlags = {
    {{"dtype"}, {"device"}, {"gradient_checkpointing"}, {"json", false}}};
constexpr std::array<std::string_view, 2> kComparePositions = {"MODEL_DIR", "reference.safetensors"};

double ratio(const GradientError& g) { return g.norm > 0.0 ? g.difference / g.norm : g.difference; }

void print_table(const CompareReport& r) {
  fmt::print("{:<52} {:>12} {:>12}\n", "gradient", "rel. error", "2-norm");
  for (const GradientError& g : r.gradients)
    fmt::print("{:<52} {:>12.3e} {:>12.5g}{}\n", g.name, ratio(g), g.norm, g.good ? "" : "  differs");
  for (const auto& name : r.not_in_reference) fmt::print("{:<52} not in the reference\n", name);
  for (const auto& name : r.not_in_model) fmt::print("{:<52} not in the model\n", name);
  fmt::print("\nlogits of {} tokens: largest error {:.3e} of values up to {:.4g}{}\n", r.tokens, r.largest_logit_error,
             r.largest_logit, r.logits_good ? "" : "  differ");
  fmt::print("loss {:.7g}, reference {:.7g}{}\n", r.loss, r.reference_loss, r.loss_good ? "" : "  differs");
  fmt::print("{}\n", r.good() ? "agrees" : "does not agree");
}

void print_json(const CompareReport& r) {
  nlohmann::ordered_json json;
  json["good"] = r.good();
  json["loss"] = r.loss;
  json["reference_loss"] = r.reference_loss;
  json["loss_good"] = r.loss_good;
  json["tokens"] = r.tokens;
  json["largest_logit_error"] = r.largest_logit_error;
  json["largest_logit"] = r.largest_logit;
  json["logits_good"] = r.logits_good;
  json["gradients"] = nlohmann::ordered_json::array();
  for (const GradientError& g : r.gradients) {
    json["gradients"].push_back({{"name", g.name}, {"relative_error", ratio(g)}, {"norm", g.norm}, {"good", g.good}});
  }
  json["not_in_reference"] = r.not_in_reference;
  json["not_in_model"] = r.not_in_model;
  fmt::print("{}\n", json.dump(2));
}

}  // namespace

ExitCode compare(const Words& words) {
  if (asks_for_help(words)) {
    fmt::print("{}", kCompareHelp);
    return ExitCode::good;
  }
  const ParsedWords parsed(words, kCompareFlags, kComparePositions);
  const auto reference = ReferenceFile::open(parsed.position(1));
  DecoderOptions decoder_options;
  decoder_options.dtype = dtype_of_flag(parsed.text("dtype").value_or("float32"));
  decoder_options.gradient_checkpointing = parsed.boolean_or("gradient_checkpointing", true);
  decoder_options.max_tokens = reference.batch().padded_tokens;
  decoder_options.max_position = reference.longest_row();
  decoder_options.threads = max_threads();
  decoder_options.dropout = false;  // references are made without
  const Device device = device_of_flag(parsed.text("device").value_or("auto"));
  std::shared_ptr<const DecoderBuffers> buffers;
  LocalModel model(
      parsed.position(0), {.compute = decoder_options.dtype, .optimizer = false}, device,
      [&](MemoryPlan& plan, const ModelSpec& spec) { buffers = plan_decoder(plan, spec, decoder_options); });
  Decoder decoder(model.spec(), model.layout(), decoder_options, model.arena(), buffers, device);

  const auto begin = [&] {
    model.store().begin_step();
    model.store().begin_micro_step(1, true);
  };
  const auto gradient_of = [&](std::int32_t tensor, float* out) {
    for (const OwnedSlice& slice : model.store().owned()) {
      if (slice.tensor != tensor) continue;
      HostMirror mirror(model.store().stream());
      const auto bytes = slice.count * static_cast<std::int64_t>(sizeof(float));
      std::copy_n(mirror.fetch<const float>(slice.gradient, bytes), slice.count, out + slice.begin);
    }
  };
  const CompareReport report = compare_with_reference(
      decoder, model.store(), model.spec(), model.layout(), reference, CompareTolerance::of(decoder_options.dtype),
      begin, [&] { (void)model.store().reduce_gradients(); }, gradient_of);
  if (parsed.has("json")) {
    print_json(report);
  } else {
    print_table(report);
  }
  return report.good() ? ExitCode::good : ExitCode::failed;
}

}  // namespace dstrain::commands
