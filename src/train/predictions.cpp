// SPDX-License-Identifier: Apache-2.0
#include "train/predictions.hpp"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.hpp"
#include "io/files/file.hpp"
#include "train/text_similarity.hpp"
#include "train/trainer_log.hpp"

namespace dstrain {

namespace {

/// Rows as bytes: the length of each, then its tokens.
std::string pack(const TokenRows& rows) {
  std::string bytes;
  const auto append = [&](const std::int32_t* values, std::size_t count) {
    bytes.append(reinterpret_cast<const char*>(values), count * sizeof(std::int32_t));
  };
  for (const auto& row : rows) {
    const auto length = static_cast<std::int32_t>(row.size());
    append(&length, 1);
    append(row.data(), row.size());
  }
  return bytes;
}

TokenRows unpack(std::string_view bytes) {
  TokenRows rows;
  while (!bytes.empty()) {
    std::int32_t length = 0;
    DSTRAIN_CHECK(bytes.size() >= sizeof length, "a message of rows ends inside a length");
    std::memcpy(&length, bytes.data(), sizeof length);
    bytes.remove_prefix(sizeof length);
    const auto size = static_cast<std::size_t>(length) * sizeof(std::int32_t);
    DSTRAIN_CHECK(length >= 0 && bytes.size() >= size, "a message of rows ends inside a row");
    rows.emplace_back(static_cast<std::size_t>(length));
    std::memcpy(rows.back().data(), bytes.data(), size);
    bytes.remove_prefix(size);
  }
  return rows;
}

std::string json_text(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

SamplingOptions sampling_options(const RunConfig& config) {
  SamplingOptions s;
  s.do_sample = config.do_sample;
  s.temperature = config.temperature;
  s.top_k = config.top_k;
  s.top_p = config.top_p;
  s.repetition_penalty = config.repetition_penalty;
  s.seed = static_cast<std::uint64_t>(config.seed);
  s.max_new_tokens = config.max_new_tokens > 0 ? config.max_new_tokens : config.max_length;
  return s;
}

std::int64_t answer_length(const RunConfig& config, std::int64_t longest_prompt) {
  return config.max_new_tokens > 0 ? longest_prompt + config.max_new_tokens : config.max_length;
}

TokenRows answer_prompts(Communicator& comm, Engine& engine, TokenRows prompts, int batch_size,
                         const SamplingOptions& sampling, const std::function<void(std::int64_t)>& done) {
  SamplingOptions options = sampling;
  if (comm.rank() == 0) prompts.push_back(options.stop_ids);  // rank 0 alone has the tokenizer
  prompts = unpack(broadcast_string(comm, comm.rank() == 0 ? pack(prompts) : std::string()));
  options.stop_ids = std::move(prompts.back());
  prompts.pop_back();

  const auto size = static_cast<std::size_t>(batch_size);
  const auto ranks = static_cast<std::size_t>(comm.size());
  TokenRows mine;
  for (std::size_t first = static_cast<std::size_t>(comm.rank()) * size; first < prompts.size();
       first += ranks * size) {
    const auto batch = std::span(prompts).subspan(first, std::min(size, prompts.size() - first));
    options.first_prompt = static_cast<std::uint32_t>(first);
    for (auto& answer : engine.generate(batch, options)) mine.push_back(std::move(answer));
    if (done && comm.rank() == 0) done(static_cast<std::int64_t>(mine.size()));
  }
  engine.generate_done();

  const auto texts = all_gather_strings(comm, pack(mine));
  TokenRows answers;
  if (comm.rank() != 0) return answers;
  answers.resize(prompts.size());
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    auto rows = unpack(texts[rank]);
    std::size_t next = 0;
    for (std::size_t first = rank * size; first < prompts.size(); first += ranks * size) {
      for (std::size_t i = first; i < std::min(first + size, prompts.size()); ++i)
        answers[i] = std::move(rows.at(next++));
    }
  }
  return answers;
}

void write_predictions(const std::filesystem::path& path, std::span<const Prediction> predictions) {
  std::string text;
  for (const auto& p : predictions) {
    text += fmt::format("{{\"prompt\": {}, \"predict\": {}, \"label\": {}}}\n", json_text(p.prompt),
                        json_text(p.predict), json_text(p.label));
  }
  write_file_atomically(path, text);
}

Metrics prediction_metrics(std::span<const Prediction> predictions) {
  if (predictions.empty()) return {};
  Metrics metrics;
  const auto add = [&](const char* name, double score) {
    metrics[name] += round_decimals(100.0 * score, 4) / static_cast<double>(predictions.size());
  };
  for (const auto& p : predictions) {
    const RougeScores scores = rouge(p.predict, p.label);
    add("predict_bleu-4", bleu4(p.predict, p.label));
    add("predict_rouge-1", scores.rouge1);
    add("predict_rouge-2", scores.rouge2);
    add("predict_rouge-l", scores.rougeL);
  }
  return metrics;
}

}  // namespace dstrain
