// SPDX-License-Identifier: Apache-2.0
/// Templates of the Llama, Mistral and Gemma models and of those built on them; the system text of many of them stands
/// inside the first user message.
#include "data/templates/rows.hpp"

namespace dstrain::templates {
namespace {

TemplateSpec llama3(TemplateSpec row) {
  row.prefix = {bos};
  row.system = {"<|start_header_id|>system<|end_header_id|>\n\n{{content}}<|eot_id|>"};
  row.user = {
      "<|start_header_id|>user<|end_header_id|>\n\n{{content}}<|eot_id|>"
      "<|start_header_id|>assistant<|end_header_id|>\n\n"};
  row.assistant = {"{{content}}<|eot_id|>"};
  row.observation = {
      "<|start_header_id|>ipython<|end_header_id|>\n\n{{content}}<|eot_id|>"
      "<|start_header_id|>assistant<|end_header_id|>\n\n"};
  row.tool_format = "llama3";
  row.stop_words = {"<|eot_id|>", "<|eom_id|>"};
  return row;
}

/// Mistral's tokenizer v3.
TemplateSpec mistral(TemplateSpec row) {
  row.prefix = {bos};
  row.system = {"{{content}}\n\n"};
  row.user = {"[INST] {{content}}[/INST]"};
  row.assistant = {" {{content}}", eos};
  row.function = {"[TOOL_CALLS] {{content}}", eos};
  row.observation = {"[TOOL_RESULTS] {\"content\": {{content}}}[/TOOL_RESULTS]"};
  row.tool_format = "mistral";
  row.system_in_user = true;
  return row;
}

/// Mistral's tokenizer v3 tekken and later: no blanks beside the marks.
TemplateSpec ministral(TemplateSpec row) {
  fill_in(row.system, {"{{content}}\n\n"});
  row.prefix = {bos};
  row.user = {"[INST]{{content}}[/INST]"};
  row.function = {"[TOOL_CALLS]{{content}}", eos};
  row.observation = {"[TOOL_RESULTS]{\"content\": {{content}}}[/TOOL_RESULTS]"};
  row.tool_format = "mistral";
  return row;
}

TemplateSpec gemma(TemplateSpec row) {
  row.prefix = {bos};
  fill_in(row.system, {"{{content}}\n\n"});
  row.user = {"<start_of_turn>user\n{{content}}<end_of_turn>\n<start_of_turn>model\n"};
  row.assistant = {"{{content}}<end_of_turn>\n"};
  row.observation = {"<start_of_turn>tool\n{{content}}<end_of_turn>\n<start_of_turn>model\n"};
  fill_in(row.stop_words, {"<end_of_turn>"});
  row.system_in_user = true;
  return row;
}

TemplateSpec vicuna(TemplateSpec row) {
  row.user = {"USER: {{content}} ASSISTANT:"};
  row.default_system = vicuna_system;
  return row;
}

}  // namespace

std::vector<TemplateSpec> llama_rows() {
  return {
      gemma({.name = "gemma", .replace_eos = true}),
      gemma({.name = "gemma2", .stop_words = {"<eos>", "<end_of_turn>"}, .efficient_eos = true}),
      gemma({.name = "gemma3", .replace_eos = true}),
      gemma({.name = "gemma3n", .replace_eos = true}),
      {.name = "llama2",
       .system = {"<<SYS>>\n{{content}}\n<</SYS>>\n\n"},
       .user = {bos, "[INST] {{content}} [/INST]"},
       .system_in_user = true},
      {.name = "llama2_zh",
       .system = {"<<SYS>>\n{{content}}\n<</SYS>>\n\n"},
       .user = {bos, "[INST] {{content}} [/INST]"},
       .default_system = "You are a helpful assistant. 你是一个乐于助人的助手。",
       .system_in_user = true},
      llama3({.name = "llama3", .replace_eos = true}),
      {.name = "llama4",
       .prefix = {bos},
       .system = {"<|header_start|>system<|header_end|>\n\n{{content}}<|eot|>"},
       .user = {"<|header_start|>user<|header_end|>\n\n{{content}}<|eot|><|header_start|>assistant<|header_end|>\n\n"},
       .assistant = {"{{content}}<|eot|>"},
       .observation =
           {"<|header_start|>ipython<|header_end|>\n\n{{content}}<|eot|><|header_start|>assistant<|header_end|>\n\n"},
       .tool_format = "llama3",
       .stop_words = {"<|eot|>", "<|eom|>"},
       .replace_eos = true},
      vicuna({.name = "llava"}),
      vicuna({.name = "llava_next"}),
      llama3({.name = "llava_next_llama3", .replace_eos = true}),
      mistral({.name = "llava_next_mistral"}),
      vicuna({.name = "llava_next_video"}),
      mistral({.name = "llava_next_video_mistral"}),
      ministral({.name = "ministral", .system_in_user = true}),
      ministral({.name = "ministral3", .system_in_user = true}),
      mistral({.name = "mistral"}),
      ministral({.name = "mistral_small", .system = {"[SYSTEM_PROMPT]{{content}}[/SYSTEM_PROMPT]"}}),
      llama3({.name = "mllama", .replace_eos = true}),
      {.name = "openchat-3.6",
       .prefix = {bos},
       .user = {"<|start_header_id|>GPT4 Correct User<|end_header_id|>\n\n{{content}}<|eot_id|><|start_header_id|>GPT4 "
                "Correct Assistant<|end_header_id|>\n\n"},
       .stop_words = {"<|eot_id|>"}},
      {.name = "paligemma", .prefix = {bos}, .user = {"{{content}}\n"}, .system_in_user = true},
      gemma({.name = "paligemma_chat", .system = {"{{content}}"}, .replace_eos = true}),
      ministral({.name = "pixtral", .system_in_user = true}),
      llama3({.name = "skywork_o1",
              .default_system =
                  "You are Skywork-o1, a thinking model developed by Skywork AI, specializing in solving complex "
                  "problems involving mathematics, coding, and logical reasoning through deep thought. When faced with "
                  "a user's request, you first engage in a lengthy and in-depth thinking process to explore possible "
                  "solutions to the problem. After completing your thoughts, you then provide a detailed explanation "
                  "of the solution process in your response."}),
      vicuna({.name = "vicuna"}),
      vicuna({.name = "video_llava"})};
}

}  // namespace dstrain::templates
