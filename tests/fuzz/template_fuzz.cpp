// SPDX-License-Identifier: Apache-2.0
/// Any bytes as a template's name, a system text, tools and messages, with "====" between; roles alternate, every
/// second answer is a call of a function.
#include <string>
#include <vector>

#include "data/template.hpp"
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dstrain;
  return fuzz::refuse_or_survive([&] {
    std::string_view rest = fuzz::text_of(data, size);
    TemplateOptions options;
    options.date = "2026-11-21";
    const Template chat(fuzz::next_file(rest), options);
    const std::string system(fuzz::next_file(rest));
    const std::string tools(fuzz::next_file(rest));
    std::vector<Message> messages;
    while (!rest.empty() || messages.size() % 2 != 0) {
      constexpr Role roles[] = {Role::user, Role::function, Role::observation, Role::assistant};
      messages.push_back({roles[messages.size() % 4], std::string(fuzz::next_file(rest))});
    }
    (void)chat.render(messages, system, tools);
  });
}
