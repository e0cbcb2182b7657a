// SPDX-License-Identifier: Apache-2.0
/// How like the expected answer a generated one is.
#pragma once

#include <string_view>

namespace dstrain {

/// BLEU-4 over characters (Unicode code points) with one reference, 0 to 1.
///
/// Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation", ACL 2002; precisions without a
/// match are smoothed as in method 3 of Chen and Cherry, "A Systematic Comparison of Smoothing Techniques for
/// Sentence-Level BLEU", WMT 2014 (NIST geometric sequence). What LLaMA-Factory calls bleu-4. Local.
double bleu4(std::string_view prediction, std::string_view reference);

/// F scores, 0 to 1, of the words of two texts.
struct RougeScores {
  double rouge1 = 0.0;
  double rouge2 = 0.0;
  double rougeL = 0.0;
};

/// ROUGE-1, -2 and -L with one reference: Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", ACL 2004, as
/// rouge_chinese computes it for LLaMA-Factory: distinct n-grams, the longest common subsequence of the whole texts,
/// and 1e-8 beside precision and recall. Words are those of segment_words(), so Chinese counts by characters. Local.
RougeScores rouge(std::string_view prediction, std::string_view reference);

}  // namespace dstrain
