// SPDX-License-Identifier: Apache-2.0
/// Regular expressions as tokenizer.json files mean them, written so that PCRE2 means the same.
#pragma once

#include <string>
#include <string_view>

namespace dstrain {

/// Translates a pattern of Oniguruma's Ruby syntax (what Hugging Face's tokenizers use) into PCRE2's.
///
/// The differences that patterns meet: \s \w \b are Unicode's, classes nest ("[^a[bc]]") and intersect ("[a&&b]"), ^
/// and $ hold at every line, (?m) is PCRE2's (?s), \h is a hex digit, "{1,3}+" repeats instead of being possessive, and
/// properties have long names ("\p{Letter}"). Everything else is handed through.
/// @throws ConfigError  a class or group does not end; absence operators "(?~"
std::string to_pcre2(std::string_view pattern, const std::string& where);

}  // namespace dstrain
