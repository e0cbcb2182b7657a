// SPDX-License-Identifier: Apache-2.0
/// The table of chat templates (LLaMA-Factory 0.9.3).
#include "data/template.hpp"

namespace dstrain {
namespace {

constexpr Slot bos{Slot::Kind::bos};
constexpr Slot eos{Slot::Kind::eos};
constexpr Slot token(std::string_view name) { return {Slot::Kind::token, name}; }

const Slots chatml_system = {"<|im_start|>system\n{{content}}<|im_end|>\n"};
const Slots chatml_user = {"<|im_start|>user\n{{content}}<|im_end|>\n<|im_start|>assistant\n"};
const Slots chatml_assistant = {"{{content}}<|im_end|>\n"};
const Slots llama2_system = {"<<SYS>>\n{{content}}\n<</SYS>>\n\n"};
const Slots llama2_user = {bos, "[INST] {{content}} [/INST]"};
const Slots glm4_system = {"<|system|>\n{{content}}"};

constexpr std::string_view vicuna_system =
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions.";
constexpr std::string_view aquila_system =
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions.";
constexpr std::string_view alpaca_system =
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n";
constexpr std::string_view intern2_system =
    "You are an AI assistant whose name is InternLM (书生·浦语).\n"
    "- InternLM (书生·浦语) is a conversational language model that is developed by Shanghai AI Laboratory "
    "(上海人工智能实验室). It is designed to be helpful, honest, and harmless.\n"
    "- InternLM (书生·浦语) can understand and communicate fluently in the language chosen by the user such as English "
    "and 中文.";

const std::vector<TemplateSpec>& table() {
  static const std::vector<TemplateSpec> templates = {
      {.name = "alpaca",
       .user = {"### Instruction:\n{{content}}\n\n### Response:\n"},
       .assistant = {"{{content}}", eos, "\n\n"},
       .default_system = alpaca_system},
      {.name = "aquila",
       .system = {"System: {{content}}###"},
       .user = {"Human: {{content}}###Assistant:"},
       .assistant = {"{{content}}###"},
       .default_system = aquila_system,
       .stop_words = {"</s>"}},
      {.name = "atom",
       .user = {bos, "Human: {{content}}\n", eos, bos, "Assistant:"},
       .assistant = {"{{content}}\n", eos}},
      {.name = "baichuan",
       .user = {token("<reserved_102>"), "{{content}}", token("<reserved_103>")},
       .efficient_eos = true},
      {.name = "baichuan2", .user = {"<reserved_106>{{content}}<reserved_107>"}, .efficient_eos = true},
      {.name = "belle",
       .prefix = {bos},
       .user = {"Human: {{content}}\n\nBelle: "},
       .assistant = {"{{content}}", eos, "\n\n"}},
      {.name = "bluelm", .user = {token("[|Human|]:"), "{{content}}", token("[|AI|]:")}},
      {.name = "chatglm2",
       .prefix = {token("[gMASK]"), token("sop")},
       .user = {"[Round {{idx}}]\n\n问：{{content}}\n\n答："},
       .efficient_eos = true},
      {.name = "chatglm3",
       .prefix = {token("[gMASK]"), token("sop")},
       .system = {token("<|system|>"), "\n", "{{content}}"},
       .user = {token("<|user|>"), "\n", "{{content}}", token("<|assistant|>")},
       .assistant = {"\n", "{{content}}"},
       .observation = {token("<|observation|>"), "\n", "{{content}}", token("<|assistant|>")},
       .stop_words = {"<|user|>", "<|observation|>"},
       .efficient_eos = true},
      {.name = "chatml",
       .system = chatml_system,
       .user = chatml_user,
       .assistant = chatml_assistant,
       .observation = {"<|im_start|>tool\n{{content}}<|im_end|>\n<|im_start|>assistant\n"},
       .stop_words = {"<|im_end|>", "<|im_start|>"},
       .replace_eos = true},
      {.name = "cohere",
       .prefix = {bos},
       .system = {"<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>{{content}}<|END_OF_TURN_TOKEN|>"},
       .user = {"<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{{content}}<|END_OF_TURN_TOKEN|>"
                "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"}},
      {.name = "deepseek", .prefix = {bos}, .system = {"{{content}}\n\n"}, .user = {"User: {{content}}\n\nAssistant:"}},
      {.name = "deepseek3", .prefix = {bos}, .user = {"<｜User｜>{{content}}<｜Assistant｜>"}},
      {.name = "default",
       .system = {"System: {{content}}", eos, "\n"},
       .user = {"Human: {{content}}", eos, "\nAssistant:"},
       .assistant = {"{{content}}", eos, "\n"}},
      {.name = "empty", .assistant = {"{{content}}"}},
      {.name = "falcon", .user = {"User: {{content}}\nFalcon:"}, .assistant = {"{{content}}\n"}, .efficient_eos = true},
      {.name = "fewshot", .assistant = {"{{content}}\n\n"}, .efficient_eos = true},
      {.name = "gemma",
       .prefix = {bos},
       .system = {"{{content}}\n\n"},
       .user = {"<start_of_turn>user\n{{content}}<end_of_turn>\n<start_of_turn>model\n"},
       .assistant = {"{{content}}<end_of_turn>\n"},
       .observation = {"<start_of_turn>tool\n{{content}}<end_of_turn>\n<start_of_turn>model\n"},
       .stop_words = {"<end_of_turn>"},
       .replace_eos = true,
       .system_in_user = true},
      {.name = "glm4",
       .prefix = {"[gMASK]<sop>"},
       .system = glm4_system,
       .user = {"<|user|>\n{{content}}<|assistant|>"},
       .assistant = {"\n{{content}}"},
       .observation = {"<|observation|>\n{{content}}<|assistant|>"},
       .stop_words = {"<|user|>", "<|observation|>"},
       .efficient_eos = true},
      {.name = "hunyuan",
       .prefix = {"<|bos|>"},
       .system = {"<|bos|>system\n{{content}}<|eos|>\n"},
       .user = {"<|bos|>user\n{{content}}<|eos|>\n<|bos|>assistant\n"},
       .assistant = {"{{content}}<|eos|>\n"},
       .stop_words = {"<|eos|>"}},
      {.name = "intern2",
       .prefix = {bos},
       .system = chatml_system,
       .user = chatml_user,
       .assistant = chatml_assistant,
       .default_system = intern2_system,
       .stop_words = {"<|im_end|>"}},
      {.name = "llama2", .system = llama2_system, .user = llama2_user, .system_in_user = true},
      {.name = "llama2_zh",
       .system = llama2_system,
       .user = llama2_user,
       .default_system = "You are a helpful assistant. 你是一个乐于助人的助手。",
       .system_in_user = true},
      {.name = "llama3",
       .prefix = {bos},
       .system = {"<|start_header_id|>system<|end_header_id|>\n\n{{content}}<|eot_id|>"},
       .user = {"<|start_header_id|>user<|end_header_id|>\n\n{{content}}<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n"},
       .assistant = {"{{content}}<|eot_id|>"},
       .observation = {"<|start_header_id|>ipython<|end_header_id|>\n\n{{content}}<|eot_id|>"
                       "<|start_header_id|>assistant<|end_header_id|>\n\n"},
       .stop_words = {"<|eot_id|>", "<|eom_id|>"},
       .replace_eos = true},
      {.name = "ministral",
       .prefix = {bos},
       .system = {"{{content}}\n\n"},
       .user = {"[INST]{{content}}[/INST]"},
       .observation = {"[TOOL_RESULTS]{\"content\": {{content}}}[/TOOL_RESULTS]"},
       .system_in_user = true},
      {.name = "mistral",
       .prefix = {bos},
       .system = {"{{content}}\n\n"},
       .user = {"[INST] {{content}}[/INST]"},
       .assistant = {" {{content}}", eos},
       .observation = {"[TOOL_RESULTS] {\"content\": {{content}}}[/TOOL_RESULTS]"},
       .system_in_user = true},
      {.name = "openchat", .prefix = {bos}, .user = {"GPT4 Correct User: {{content}}", eos, "GPT4 Correct Assistant:"}},
      {.name = "phi",
       .system = {"<|system|>\n{{content}}<|end|>\n"},
       .user = {"<|user|>\n{{content}}<|end|>\n<|assistant|>\n"},
       .assistant = {"{{content}}<|end|>\n"},
       .stop_words = {"<|end|>"},
       .replace_eos = true},
      {.name = "phi4",
       .system = {"<|im_start|>system<|im_sep|>{{content}}<|im_end|>"},
       .user = {"<|im_start|>user<|im_sep|>{{content}}<|im_end|><|im_start|>assistant<|im_sep|>"},
       .assistant = {"{{content}}<|im_end|>"},
       .stop_words = {"<|im_end|>"},
       .replace_eos = true},
      {.name = "qwen",
       .system = chatml_system,
       .user = chatml_user,
       .assistant = chatml_assistant,
       .observation = {"<|im_start|>user\n<tool_response>\n{{content}}\n</tool_response><|im_end|>\n"
                       "<|im_start|>assistant\n"},
       .default_system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
       .stop_words = {"<|im_end|>"},
       .replace_eos = true},
      {.name = "solar",
       .system = {"### System:\n{{content}}\n\n"},
       .user = {"### User:\n{{content}}\n\n### Assistant:\n"},
       .efficient_eos = true},
      {.name = "vicuna", .user = {"USER: {{content}} ASSISTANT:"}, .default_system = vicuna_system},
      {.name = "xverse", .user = {"Human: {{content}}\n\nAssistant: "}},
      {.name = "yi",
       .system = chatml_system,
       .user = chatml_user,
       .assistant = chatml_assistant,
       .stop_words = {"<|im_end|>"}},
      {.name = "yuan",
       .user = {"{{content}}", token("<sep>")},
       .assistant = {"{{content}}<eod>\n"},
       .stop_words = {"<eod>"}},
      {.name = "zephyr",
       .system = {"<|system|>\n{{content}}", eos},
       .user = {"<|user|>\n{{content}}", eos, "<|assistant|>\n"},
       .default_system = "You are Zephyr, a helpful assistant."},
      {.name = "ziya", .user = {"<human>:{{content}}\n<bot>:"}, .assistant = {"{{content}}\n"}},
  };
  return templates;
}

}  // namespace

std::span<const TemplateSpec> template_table() { return table(); }

}  // namespace dstrain
