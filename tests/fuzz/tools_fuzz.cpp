// SPDX-License-Identifier: Apache-2.0
/// Any bytes as a sample's tools and (behind "====") as a function message, in every tool format: refused with a
/// message, or written.
#include <string>

#include "data/template.hpp"
#include "data/tools/tool_format.hpp"
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dstrain;
  std::string_view rest = fuzz::text_of(data, size);
  const std::string tools(fuzz::next_file(rest));
  const std::string call(fuzz::next_file(rest));
  for (const ToolFormat& format : tool_formats()) {
    TemplateOptions options;
    options.tool_format = std::string(format.name);
    const Template chat("qwen3", options);
    const Message question{Role::user, call};
    fuzz::refuse_or_survive([&] { (void)chat.render(std::vector{question}, "", tools); });
    fuzz::refuse_or_survive([&] { (void)chat.render(std::vector{question, Message{Role::function, call}}, "", ""); });
  }
  return 0;
}
