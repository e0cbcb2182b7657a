// SPDX-License-Identifier: Apache-2.0
/// What the files with the templates' rows share. `template_table.cpp` joins them.
#pragma once

#include <string>
#include <vector>

#include "data/template_spec.hpp"

namespace dstrain::templates {

std::vector<TemplateSpec> chatml_rows();
std::vector<TemplateSpec> llama_rows();
std::vector<TemplateSpec> glm_rows();
std::vector<TemplateSpec> other_rows_a_to_h();
std::vector<TemplateSpec> other_rows_i_to_z();

inline const Slot bos{Slot::Kind::bos};
inline const Slot eos{Slot::Kind::eos};
inline Slot token(const char* name) { return {Slot::Kind::token, name}; }

inline const ThoughtWords think{"<think>", "</think>", "<think>\n\n</think>\n\n"};
/// With the line breaks as parts of the words: the rows that came after 0.9.3.
inline const ThoughtWords think_lines{"<think>\n", "\n</think>\n\n", "<think>\n\n</think>\n\n"};

/// ChatML's answer to a tool call: a role of its own.
inline const Slots chatml_tool = {"<|im_start|>tool\n{{content}}<|im_end|>\n<|im_start|>assistant\n"};

inline const std::string vicuna_system =
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions.";
inline const std::string internlm_system =
    "You are an AI assistant whose name is InternLM (书生·浦语).\n"
    "- InternLM (书生·浦语) is a conversational language model that is developed by Shanghai AI Laboratory "
    "(上海人工智能实验室). It is designed to be helpful, honest, and harmless.\n"
    "- InternLM (书生·浦语) can understand and communicate fluently in the language chosen by the user such as English "
    "and 中文.";

/// `value` where the row leaves it empty.
template <typename T>
void fill_in(T& member, const T& value) {
  if (member.empty()) member = value;
}

/// `row` with ChatML's slots where it has none of its own.
inline TemplateSpec chatml(TemplateSpec row) {
  fill_in(row.system, {"<|im_start|>system\n{{content}}<|im_end|>\n"});
  fill_in(row.user, {"<|im_start|>user\n{{content}}<|im_end|>\n<|im_start|>assistant\n"});
  fill_in(row.assistant, {"{{content}}<|im_end|>\n"});
  return row;
}

}  // namespace dstrain::templates
