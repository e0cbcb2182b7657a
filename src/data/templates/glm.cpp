// SPDX-License-Identifier: Apache-2.0
/// Templates of the GLM models: efficient_eos, the next role's token ends an answer.
#include "data/templates/rows.hpp"

namespace dstrain::templates {
namespace {

TemplateSpec glm4(TemplateSpec row) {
  row.prefix = {"[gMASK]<sop>"};
  row.system = {"<|system|>\n{{content}}"};
  row.user = {"<|user|>\n{{content}}<|assistant|>"};
  row.assistant = {"\n{{content}}"};
  row.function = {"{{content}}"};
  row.observation = {"<|observation|>\n{{content}}<|assistant|>"};
  fill_in(row.tool_format, std::string("glm4"));
  fill_in(row.stop_words, {"<|user|>", "<|observation|>"});
  row.efficient_eos = true;
  return row;
}

}  // namespace

std::vector<TemplateSpec> glm_rows() {
  return {
      glm4({.name = "aeva",
            .tool_format = "glm4_moe",
            .default_system = "You are an AI assistant named Aeva created by Zongzhi Lou. Your answer should be "
                              "friendly, unbiased, faithful, informative and detailed.",
            .thought = ThoughtWords{"<think>", "</think>", "</think>"}}),
      {.name = "chatglm2",
       .prefix = {token("[gMASK]"), token("sop")},
       .user = {"[Round {{idx}}]\n\n问：{{content}}\n\n答："},
       .efficient_eos = true},
      {.name = "chatglm3",
       .prefix = {token("[gMASK]"), token("sop")},
       .system = {token("<|system|>"), "\n", "{{content}}"},
       .user = {token("<|user|>"), "\n", "{{content}}", token("<|assistant|>")},
       .assistant = {"\n", "{{content}}"},
       .function = {"{{content}}"},
       .observation = {token("<|observation|>"), "\n", "{{content}}", token("<|assistant|>")},
       .tool_format = "glm4",
       .stop_words = {"<|user|>", "<|observation|>"},
       .efficient_eos = true},
      {.name = "codegeex2", .prefix = {token("[gMASK]"), token("sop")}},
      {.name = "codegeex4",
       .prefix = {"[gMASK]<sop>"},
       .system = {"<|system|>\n{{content}}"},
       .user = {"<|user|>\n{{content}}<|assistant|>\n"},
       .observation = {"<|observation|>\n{{content}}<|assistant|>\n"},
       .tool_format = "glm4",
       .default_system = "你是一位智能编程助手，你叫CodeGeeX。你会为用户回答关于编程、代码、计算机方面的任何问题，并提"
                         "供格式规范、可以执行、准确安全的代码，并在必要时提供详细的解释。",
       .stop_words = {"<|user|>", "<|observation|>"},
       .efficient_eos = true},
      glm4({.name = "glm4"}),
      glm4({.name = "glm4_5v",
            .tool_format = "glm4_moe",
            .stop_words = {"<|user|>", "<|observation|>", "</answer>"},
            .thought = think_lines}),
      glm4({.name = "glm4_7", .tool_format = "glm4_moe", .thought = ThoughtWords{"<think>", "</think>", "</think>"}}),
      glm4({.name = "glm4_moe", .tool_format = "glm4_moe", .thought = think_lines}),
      glm4({.name = "glm4v", .stop_words = {"<|user|>", "<|observation|>", "</answer>"}, .thought = think_lines}),
      glm4({.name = "glm_ocr"}),
      glm4({.name = "glmz1", .thought = think})};
}

}  // namespace dstrain::templates
