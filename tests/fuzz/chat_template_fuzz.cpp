// SPDX-License-Identifier: Apache-2.0
/// Any bytes as a chat template: refused with a message, or rendered within its budget.
#include "data/jinja/jinja.hpp"
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dstrain;
  return fuzz::refuse_or_survive([&] {
    const jinja::Value message(jinja::Dict{{"role", "user"}, {"content", "{{content}} w\u00f6rld\n"}});
    const jinja::Value answer(jinja::Dict{{"role", "assistant"}, {"content", "<think>t</think>a"}});
    (void)jinja::render(fuzz::text_of(data, size), {{"messages", jinja::Value(jinja::List{message, answer})},
                                                    {"bos_token", "<s>"},
                                                    {"add_generation_prompt", true}});
  });
}
