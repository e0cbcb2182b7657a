// SPDX-License-Identifier: Apache-2.0
/// `dstrain generate`: answers of a model, on one process.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

#include "commands/commands.hpp"
#include "commands/local_model.hpp"
#include "commands/prompts.hpp"
#include "commands/words.hpp"
#include "core/parallel.hpp"
#include "io/files/file.hpp"
#include "model/generator.hpp"

namespace dstrain::commands {
namespace {

constexpr const char* kGenerateHelp =
    "usage: dstrain generate MODEL_DIR --prompt \"text\" [--template NAME] [--system \"text\"] [--tools FILE.json]\n"
    "       dstrain generate MODEL_DIR --prompts FILE.jsonl|- ...   lines: \"text\", {\"prompt\": ...} or "
    "{\"messages\": [...]}\n"
    "  --adapter_name_or_path DIR[,DIR]  PEFT adapters, merged before the first token\n"
    "Without --template the text goes on as it stands.\n"
    "  --enable_thinking true|false|null (true)  --tool_format NAME (the template's)\n"
    "  --do_sample true|false (true)  --temperature 0.95  --top_p 0.7  --top_k 50  --repetition_penalty 1.0\n"
    "  --max_new_tokens 1024  --seed 42  --skip_special_tokens true|false (true)\n"
    "  --dtype float32|bfloat16|float16  --device auto|cpu|cuda  --batch_size 8  --json (one line per prompt)\n";

constexpr std::array<FlagSpec, 20> kGenerateFlags = {{{"prompt"},
                                                      {"tools"},
                                                      {"tool_format"},
                                                      {"enable_thinking"},
                                                      {"prompts"},
                                                      {"template"},
                                                      {"system"},
                                                      {"do_sample"},
                                                      {"temperature"},
                                                      {"top_p"},
                                                      {"top_k"},
                                                      {"repetition_penalty"},
                                                      {"max_new_tokens"},
                                                      {"seed"},
                                                      {"skip_special_tokens"},
                                                      {"dtype"},
                                                      {"device"},
                                                      {"batch_size"},
                                                      {"adapter_name_or_path"},
                                                      {"json", false}}};
constexpr std::array<std::string_view, 1> kGeneratePositions = {"MODEL_DIR"};
constexpr std::int64_t most_prompt_bytes = 256 << 20;

std::vector<Prompt> prompts_of(const ParsedWords& words) {
  const auto text = words.text("prompt");
  const auto file = words.text("prompts");
  if (text.has_value() == file.has_value()) throw ConfigError("give either --prompt or --prompts", "command line");
  const std::string system = words.text("system").value_or("");
  const auto tools_file = words.text("tools");
  const std::string tools = tools_file ? read_file(*tools_file, most_prompt_bytes) : "";
  if (text) return {{{{Role::user, *text}}, system, tools}};
  const std::string path = *file == "-" ? "/dev/stdin" : *file;
  auto prompts = read_prompts(read_file(path, most_prompt_bytes), *file);
  for (Prompt& prompt : prompts) {
    if (prompt.system.empty()) prompt.system = system;
    if (prompt.tools.empty()) prompt.tools = tools;
  }
  return prompts;
}

/// A comma list of PEFT folders.
std::vector<std::filesystem::path> adapters_of(const ParsedWords& words) {
  std::vector<std::filesystem::path> folders;
  std::istringstream list(words.text("adapter_name_or_path").value_or(""));
  for (std::string folder; std::getline(list, folder, ',');) folders.emplace_back(folder);
  return folders;
}

SamplingOptions sampling_of(const ParsedWords& words) {
  SamplingOptions s;
  s.do_sample = words.boolean_or("do_sample", s.do_sample);
  s.temperature = words.number_or("temperature", s.temperature);
  s.top_p = words.number_or("top_p", s.top_p);
  s.top_k = words.integer_or("top_k", s.top_k);
  s.repetition_penalty = words.number_or("repetition_penalty", s.repetition_penalty);
  s.max_new_tokens = words.integer_or("max_new_tokens", s.max_new_tokens);
  s.seed = static_cast<std::uint64_t>(words.integer_or("seed", 42));
  check_sampling(s);
  return s;
}

std::optional<Template> template_of(const ParsedWords& words) {
  const auto name = words.text("template");
  if (!name) return std::nullopt;
  TemplateOptions options;
  options.tool_format = words.text("tool_format");
  if (words.text("enable_thinking") == "null") {
    options.enable_thinking = std::nullopt;
  } else {
    options.enable_thinking = words.boolean_or("enable_thinking", true);
  }
  return Template(*name, options);
}

/// The tokenizer's end and the template's stop words, as LLaMA-Factory stops.
std::vector<std::int32_t> stop_ids(const Tokenizer& tokenizer, const std::optional<Template>& chat_template) {
  if (chat_template) return chat_template->stop_ids(tokenizer);
  const auto eos = tokenizer.eos_id();
  return eos ? std::vector<std::int32_t>{*eos} : std::vector<std::int32_t>{};
}

/// Prints an answer while it grows; bytes of an unfinished character wait for the rest.
class TextStream {
 public:
  TextStream(const Tokenizer& tokenizer, bool skip_special) : tokenizer_(tokenizer), skip_special_(skip_special) {}
  void add(std::int32_t id) {
    ids_.push_back(id);
    const std::string text = tokenizer_.decode(ids_, skip_special_);
    if (text.size() <= printed_ || text.ends_with("\xEF\xBF\xBD")) return;
    fmt::print("{}", text.substr(printed_));
    std::fflush(stdout);
    printed_ = text.size();
  }
  void finish() const {
    const std::string text = tokenizer_.decode(ids_, skip_special_);
    fmt::print("{}\n", text.substr(std::min(printed_, text.size())));
  }

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_;
  std::vector<std::int32_t> ids_;
  std::size_t printed_ = 0;
};

void print_answer(const Tokenizer& tokenizer, std::size_t number, const Generated& answer, bool skip_special,
                  bool json) {
  const std::string text = tokenizer.decode(answer.ids, skip_special);
  if (!json) {
    fmt::print("[{}] {}\n", number, text);
    return;
  }
  const nlohmann::ordered_json line = {
      {"prompt", number}, {"text", text}, {"ids", answer.ids}, {"stopped", answer.stopped}};
  fmt::print("{}\n", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace

ExitCode generate(const Words& words) {
  if (asks_for_help(words)) {
    fmt::print("{}", kGenerateHelp);
    return ExitCode::good;
  }
  const ParsedWords parsed(words, kGenerateFlags, kGeneratePositions);
  const auto prompts = prompts_of(parsed);
  SamplingOptions sampling = sampling_of(parsed);
  const std::int64_t batch_size = parsed.integer_or("batch_size", 8);
  if (batch_size < 1 || batch_size > 64)
    throw ConfigError(fmt::format("--batch_size is {}", batch_size), "command line", "give 1 to 64");
  const bool skip_special = parsed.boolean_or("skip_special_tokens", true);

  Tokenizer tokenizer = load_tokenizer(read_tokenizer_files(parsed.position(0)));
  const auto chat_template = template_of(parsed);
  if (chat_template) chat_template->fix_tokenizer(tokenizer);
  sampling.stop_ids = stop_ids(tokenizer, chat_template);
  std::vector<std::vector<std::int32_t>> ids;
  std::size_t longest = 0;
  for (const Prompt& prompt : prompts) {
    ids.push_back(encode_prompt(prompt, tokenizer, chat_template));
    longest = std::max(longest, ids.back().size());
  }

  GeneratorOptions options;
  options.dtype = dtype_of_flag(parsed.text("dtype").value_or("float32"));
  options.max_sequences = std::min<std::int64_t>(batch_size, static_cast<std::int64_t>(ids.size()));
  options.max_length = static_cast<std::int64_t>(longest) + sampling.max_new_tokens;
  options.threads = max_threads();
  const Device device = device_of_flag(parsed.text("device").value_or("auto"));
  std::shared_ptr<const GeneratorBuffers> buffers;
  LocalModel model(
      parsed.position(0), {.compute = options.dtype, .train = false, .optimizer = false}, device,
      [&](MemoryPlan& plan, const ModelSpec& spec) { buffers = plan_generator(plan, spec, options); },
      adapters_of(parsed));
  Generator generator(model.spec(), model.layout(), options, model.arena(), buffers, device);

  const bool json = parsed.has("json");
  for (std::size_t first = 0; first < ids.size(); first += static_cast<std::size_t>(batch_size)) {
    const auto batch =
        std::span(ids).subspan(first, std::min(static_cast<std::size_t>(batch_size), ids.size() - first));
    sampling.first_prompt = static_cast<std::uint32_t>(first);
    TextStream stream(tokenizer, skip_special);
    const bool one_text = ids.size() == 1 && !json;
    const auto answers = generator.generate(model.store(), batch, sampling, [&](std::size_t, std::int32_t id) {
      if (one_text) stream.add(id);
    });
    if (one_text) {
      stream.finish();
      continue;
    }
    for (std::size_t i = 0; i < answers.size(); ++i) print_answer(tokenizer, first + i, answers[i], skip_special, json);
  }
  return ExitCode::good;
}

}  // namespace dstrain::commands
