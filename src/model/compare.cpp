// SPDX-License-Identifier: Apache-2.0
#include "model/compare.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"

namespace dstrain {

namespace {

bool close(double actual, double expected, const CompareTolerance& t) {
  return std::abs(actual - expected) <= t.absolute + t.relative * std::abs(expected);  // false for NaN
}

void compare_logits(Decoder& decoder, ParameterStore& store, const ModelSpec& spec, const ReferenceFile& reference,
                    const CompareTolerance& tolerance, CompareReport& report) {
  const MicroBatch batch = reference.batch();
  const auto V = static_cast<std::size_t>(spec.vocab_size);
  std::vector<float> actual(static_cast<std::size_t>(batch.tokens) * V);
  std::vector<float> expected(V);
  decoder.logits(store, batch, 0, batch.tokens, actual.data());
  report.tokens = batch.tokens;
  report.logits_good = true;
  for (std::int64_t t = 0; t < batch.tokens; ++t) {
    reference.logits(t, spec.vocab_size, expected.data());
    for (std::size_t v = 0; v < V; ++v) {
      const double a = actual[static_cast<std::size_t>(t) * V + v];
      const double error = std::abs(a - static_cast<double>(expected[v]));
      if (!(error <= report.largest_logit_error)) report.largest_logit_error = error;  // NaN stays
      report.largest_logit = std::max(report.largest_logit, std::abs(static_cast<double>(expected[v])));
      report.logits_good = report.logits_good && close(a, expected[v], tolerance);
    }
  }
}

void compare_gradient(const TensorLayout& tensor, const ReferenceFile& reference, const GradientReader& gradient_of,
                      CompareReport& report) {
  const std::int64_t count = reference.gradient_count(tensor.name);
  if (count < 0) {
    report.not_in_reference.push_back(tensor.name);
    return;
  }
  if (count != tensor.count) {
    throw IoError(fmt::format("grad.{} has {} elements, the model's tensor {}", tensor.name, count, tensor.count), {},
                  "the reference was made with another model");
  }
  std::vector<float> actual(static_cast<std::size_t>(count));
  std::vector<float> expected(static_cast<std::size_t>(count));
  gradient_of(tensor.index, actual.data());
  reference.gradient(tensor.name, 0, count, expected.data());
  double difference = 0.0;
  double norm = 0.0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double e = expected[i];
    const double d = static_cast<double>(actual[i]) - e;
    difference += d * d;
    norm += e * e;
  }
  report.gradients.push_back({tensor.name, std::sqrt(difference), std::sqrt(norm), false});
}

/// A gradient that is zero by mathematics (queries that see one key, key biases without positions) is rounding in both
/// programs: there its size beside that of all gradients counts.
void judge_gradients(const CompareTolerance& tolerance, CompareReport& report) {
  constexpr double rounding = 1e-6;
  double squares = 0.0;
  for (const GradientError& g : report.gradients) squares += g.norm * g.norm;
  const double all = std::sqrt(squares);
  for (GradientError& g : report.gradients) {
    const bool zero = g.norm <= rounding * all && g.difference <= rounding * all;
    g.good = g.difference <= tolerance.gradient * g.norm || zero;  // false for NaN
  }
}

}  // namespace

CompareTolerance CompareTolerance::of(DType dtype) noexcept {
  if (dtype == DType::f32) return {};
  const double roundings = dtype == DType::f16 ? 32.0 / 2048.0 : 32.0 / 256.0;
  return {.absolute = roundings, .relative = roundings, .gradient = roundings};
}

bool CompareReport::good() const noexcept {
  return loss_good && logits_good && !gradients.empty() && not_in_model.empty() && not_in_reference.empty() &&
         std::all_of(gradients.begin(), gradients.end(), [](const GradientError& g) { return g.good; });
}

CompareReport compare_with_reference(Decoder& decoder, ParameterStore& store, const ModelSpec& spec,
                                     const ModelLayout& layout, const ReferenceFile& reference,
                                     const CompareTolerance& tolerance, const std::function<void()>& begin,
                                     const std::function<void()>& finish, const GradientReader& gradient_of) {
  CompareReport report;
  compare_logits(decoder, store, spec, reference, tolerance, report);

  begin();
  const MicroBatch batch = reference.batch();
  report.loss = decoder.forward(store, batch, true).loss;
  decoder.backward(store, batch);
  finish();
  report.reference_loss = reference.loss();
  report.loss_good = close(report.loss, report.reference_loss, tolerance);
  for (const TensorLayout& tensor : layout.tensors) compare_gradient(tensor, reference, gradient_of, report);
  judge_gradients(tolerance, report);
  for (const std::string& name : reference.gradient_names()) {
    // A tied head stands in some files a second time under its own name.
    if (layout.find(name) < 0 && !(spec.tie_word_embeddings && name == "lm_head.weight"))
      report.not_in_model.push_back(name);
  }
  return report;
}

}  // namespace dstrain
