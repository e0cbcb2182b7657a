// SPDX-License-Identifier: Apache-2.0
/// LLaMA-Factory's GeneratingArguments; `dstrain generate` reads them.
#include "config/key_schema.hpp"

namespace dstrain::keys {

std::vector<KeySpec> generation() {
  using C = RunConfig;
  using enum ValueType;
  return {
      runs("do_sample", &C::do_sample, "Draw from the distribution; false: always the likeliest token"),
      runs("temperature", &C::temperature, "Divides the logits before drawing"),
      runs("top_p", &C::top_p, "Draw from the likeliest tokens that hold this share"),
      runs("top_k", &C::top_k, "Draw from that many likeliest tokens; 0: from all"),
      runs("max_new_tokens", &C::max_new_tokens, "Most tokens of an answer"),
      runs("repetition_penalty", &C::repetition_penalty,
           "Divides (or multiplies, where negative) the logits of tokens seen before"),
      runs("skip_special_tokens", &C::skip_special_tokens, "Leave special tokens out of the text"),
      refused("num_beams", integer, "1", "Beam search", "sample, or use do_sample: false"),
      runs("max_length", &C::max_length, "Most tokens with the prompt; read where max_new_tokens is 0 or less"),
      noted("length_penalty", number, "1.0", "Beam search", "there is no beam search"),
  };
}

}  // namespace dstrain::keys
