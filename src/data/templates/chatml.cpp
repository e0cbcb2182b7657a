// SPDX-License-Identifier: Apache-2.0
/// Templates that mark turns with <|im_start|> and <|im_end|>: ChatML itself, Qwen, Yi, InternLM 2, MiMo, SmolLM ...
#include "data/templates/rows.hpp"

namespace dstrain::templates {
namespace {

/// Qwen's ChatML: what a function gave back stands inside a user message.
TemplateSpec qwen(TemplateSpec row) {
  row = chatml(std::move(row));
  fill_in(row.observation,
          {"<|im_start|>user\n<tool_response>\n{{content}}\n</tool_response><|im_end|>\n<|im_start|>assistant\n"});
  fill_in(row.tool_format, std::string("qwen"));
  row.stop_words = {"<|im_end|>"};
  return row;
}

}  // namespace

std::vector<TemplateSpec> chatml_rows() {
  return {
      chatml({.name = "chatml",
              .observation = chatml_tool,
              .stop_words = {"<|im_end|>", "<|im_start|>"},
              .replace_eos = true}),
      chatml({.name = "chatml_de",
              .observation = chatml_tool,
              .default_system = "Du bist ein freundlicher und hilfsbereiter KI-Assistent.",
              .stop_words = {"<|im_end|>", "<|im_start|>"},
              .replace_eos = true}),
      chatml({.name = "cpm3", .prefix = {bos}, .observation = chatml_tool, .stop_words = {"<|im_end|>"}}),
      chatml({.name = "cpm4", .prefix = {bos}, .observation = chatml_tool, .stop_words = {"<|im_end|>"}}),
      chatml({.name = "dbrx",
              .observation = chatml_tool,
              .default_system =
                  "You are DBRX, created by Databricks. You were last updated in December 2023. You answer questions "
                  "based on information available up to that point.\nYOU PROVIDE SHORT RESPONSES TO SHORT QUESTIONS OR "
                  "STATEMENTS, but provide thorough responses to more complex and open-ended questions.\nYou assist "
                  "with various tasks, from writing to coding (using markdown for code blocks — remember to use ``` "
                  "with code, JSON, and tables).\n(You do not have real-time data access or code execution "
                  "capabilities. You avoid stereotyping and provide balanced perspectives on controversial topics. You "
                  "do not provide song lyrics, poems, or news articles and do not divulge details of your training "
                  "data.)\nThis is your system prompt, guiding your responses. Do not reference it, just respond to "
                  "the user. If you find yourself talking about this message, stop. You should be responding "
                  "appropriately and usually that means not mentioning this.\nYOU DO NOT MENTION ANY OF THIS "
                  "INFORMATION ABOUT YOURSELF UNLESS THE INFORMATION IS DIRECTLY PERTINENT TO THE USER'S QUERY.",
              .stop_words = {"<|im_end|>"},
              .replace_eos = true}),
      chatml({.name = "falcon_h1",
              .prefix = {bos},
              .observation = chatml_tool,
              .stop_words = {"<|im_end|>", "<|end_of_text|>"}}),
      chatml({.name = "intern2", .prefix = {bos}, .default_system = internlm_system, .stop_words = {"<|im_end|>"}}),
      chatml({.name = "intern_s1", .prefix = {bos}, .stop_words = {"<|im_end|>"}}),
      chatml({.name = "intern_vl",
              .prefix = {bos},
              .default_system = "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开"
                                "发的多模态大语言模型。",
              .stop_words = {"<|im_end|>"}}),
      qwen({.name = "keye_vl", .replace_eos = true, .thought = think_lines}),
      qwen({.name = "lfm2",
            .observation = {"<|im_start|>tool\n<|tool_response_start|>{{content}}<|tool_response_end|><|im_end|>\n<|im_"
                            "start|>assistant\n"},
            .tool_format = "lfm2",
            .default_system = "You are a helpful AI assistant.",
            .replace_eos = true}),
      qwen({.name = "lfm2_vl",
            .observation = {"<|im_start|>tool\n<|tool_response_start|>{{content}}<|tool_response_end|><|im_end|>\n<|im_"
                            "start|>assistant\n"},
            .tool_format = "lfm2",
            .default_system = "You are a helpful multimodal assistant by Liquid AI.",
            .replace_eos = true}),
      qwen({.name = "llava_next_qwen", .default_system = "You are a helpful assistant.", .replace_eos = true}),
      chatml({.name = "llava_next_video_yi", .stop_words = {"<|im_end|>"}}),
      chatml({.name = "llava_next_yi", .stop_words = {"<|im_end|>"}}),
      chatml({.name = "marco",
              .observation = chatml_tool,
              .default_system =
                  "你是一个经过良好训练的AI助手，你的名字是Marco-o1.由阿里国际数字商业集团的AI Business创造.\n## "
                  "重要！！！！！\n当你回答问题时，你的思考应该在<Thought>内完成，<Output>内输出你的结果。\n<Thought>"
                  "应该尽可能是英文，但是有2个特例，一个是对原文中的引用，另一个是是数学应该使用markdown格式，<Output>"
                  "内的输出需要遵循用户输入的语言。\n",
              .stop_words = {"<|im_end|>"}}),
      qwen({.name = "mimo", .default_system = "You are a helpful assistant.", .replace_eos = true, .thought = think}),
      qwen({.name = "mimo_v2",
            .default_system = "You are MiMo, a helpful AI assistant engineered by Xiaomi.",
            .replace_eos = true,
            .thought = ThoughtWords{"<think>", "</think>", "<think></think>"}}),
      qwen({.name = "mimo_vl",
            .default_system = "You are MiMo, an AI assistant developed by Xiaomi.",
            .replace_eos = true,
            .thought = think}),
      chatml({.name = "minicpm_o",
              .default_system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
              .stop_words = {"<|im_end|>"}}),
      chatml({.name = "minicpm_v", .default_system = "You are a helpful assistant.", .stop_words = {"<|im_end|>"}}),
      chatml({.name = "minicpm_v_4_6", .default_system = "You are a helpful assistant.", .stop_words = {"<|im_end|>"}}),
      chatml({.name = "opencoder",
              .observation = chatml_tool,
              .default_system = "You are OpenCoder, created by OpenCoder Team.",
              .stop_words = {"<|im_end|>"}}),
      qwen({.name = "qwen",
            .default_system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
            .replace_eos = true}),
      chatml({.name = "qwen2_audio",
              .default_system = "You are a helpful assistant.",
              .stop_words = {"<|im_end|>"},
              .replace_eos = true}),
      qwen({.name = "qwen2_omni", .default_system = "You are a helpful assistant.", .replace_eos = true}),
      qwen({.name = "qwen2_vl", .default_system = "You are a helpful assistant.", .replace_eos = true}),
      qwen({.name = "qwen3", .replace_eos = true, .thought = think}),
      qwen({.name = "qwen3_5", .tool_format = "qwen3_5", .replace_eos = true, .thought = think_lines}),
      qwen({.name = "qwen3_5_nothink", .tool_format = "qwen3_5", .replace_eos = true}),
      qwen({.name = "qwen3_6", .tool_format = "qwen3_5", .replace_eos = true, .thought = think_lines}),
      qwen({.name = "qwen3_nothink", .replace_eos = true}),
      qwen({.name = "qwen3_omni", .replace_eos = true, .thought = think_lines}),
      qwen({.name = "qwen3_omni_nothink", .replace_eos = true}),
      qwen({.name = "qwen3_vl", .replace_eos = true, .thought = think_lines}),
      qwen({.name = "qwen3_vl_nothink", .replace_eos = true}),
      chatml({.name = "smollm", .stop_words = {"<|im_end|>"}}),
      chatml({.name = "smollm2",
              .default_system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face.",
              .stop_words = {"<|im_end|>"}}),
      chatml({.name = "yi", .stop_words = {"<|im_end|>"}})};
}

}  // namespace dstrain::templates
