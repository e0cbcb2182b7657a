// SPDX-License-Identifier: Apache-2.0
/// The machine of Python's pickle (Lib/pickletools.py describes it) with the few opcodes that state dicts need.
#include "io/torch/pickle.hpp"

#include <utility>

#include "core/error.hpp"
#include "io/torch/pickle_objects.hpp"
#include "io/torch/pickle_stack.hpp"

namespace dstrain {
namespace pickle {
namespace {

class Machine {
 public:
  Machine(std::string_view bytes, const std::string& where) : bytes_(bytes), stack_(where) {}

  std::vector<PickledTensor> run() {
    while (!stopped_) step(static_cast<unsigned char>(take(1)[0]));
    return tensors_of(stack_);
  }

 private:
  // --- bytes

  std::string_view take(std::size_t count) {
    if (count > bytes_.size() - at_) stack_.refuse(fmt::format("its pickle ends in the middle, at byte {}", at_));
    const auto part = bytes_.substr(at_, count);
    at_ += count;
    return part;
  }
  std::uint64_t number(std::size_t size) {
    std::uint64_t value = 0;
    const auto part = take(size);
    for (std::size_t i = size; i-- > 0;) value = (value << 8) | static_cast<unsigned char>(part[i]);
    return value;
  }
  std::string line() {
    const auto end = bytes_.find('\n', at_);
    if (end == std::string_view::npos || end - at_ > 256) stack_.refuse("its pickle has a name without an end");
    std::string text(take(end - at_));
    (void)take(1);
    return text;
  }

  // --- opcodes

  void step(unsigned char opcode) {
    switch (opcode) {
      case 0x80:  // PROTO
        if (const auto protocol = number(1); protocol < 2 || protocol > 5)
          stack_.refuse(fmt::format("is a pickle of protocol {}; 2 to 5 are read", protocol));
        return;
      case 0x95:  // FRAME
        (void)number(8);
        return;
      case '.':
        stopped_ = true;
        return;
      case '(':
        stack_.mark();
        return;
      default:
        if (!step_value(opcode) && !step_container(opcode) && !step_object(opcode))
          stack_.refuse(
              fmt::format("its pickle has opcode 0x{:02x} at byte {}, which no state dict needs", opcode, at_ - 1));
    }
  }

  /// Constants and the memo.
  bool step_value(unsigned char opcode) {
    switch (opcode) {
      case 'N':
        stack_.push(Kind::none);
        return true;
      case 0x88:
        stack_.push_integer(1, Kind::boolean);
        return true;
      case 0x89:
        stack_.push_integer(0, Kind::boolean);
        return true;
      case 'J':
        stack_.push_integer(static_cast<std::int32_t>(number(4)));
        return true;
      case 'K':
        stack_.push_integer(static_cast<std::int64_t>(number(1)));
        return true;
      case 'M':
        stack_.push_integer(static_cast<std::int64_t>(number(2)));
        return true;
      case 0x8a:
        push_long();
        return true;
      case 'G':
        (void)take(8), stack_.push(Kind::real);
        return true;
      case 'X':
        stack_.push_text(take(number(4)));
        return true;
      case 0x8c:
        stack_.push_text(take(number(1)));
        return true;
      case 'q':
        stack_.remember(number(1));
        return true;
      case 'r':
        stack_.remember(number(4));
        return true;
      case 0x94:
        stack_.remember();
        return true;
      case 'h':
        stack_.recall(number(1));
        return true;
      case 'j':
        stack_.recall(number(4));
        return true;
      default:
        return false;
    }
  }

  /// LONG1: little-endian two's complement of up to eight bytes.
  void push_long() {
    const auto size = static_cast<std::size_t>(number(1));
    if (size > 8) stack_.refuse("its pickle has a number beyond 64 bits");
    std::uint64_t value = number(size);
    if (size > 0 && size < 8 && (value >> (8 * size - 1)) != 0) value |= ~std::uint64_t{0} << (8 * size);
    stack_.push_integer(static_cast<std::int64_t>(value));
  }

  bool step_container(unsigned char opcode) {
    switch (opcode) {
      case '}':
        stack_.push(Kind::dict);
        return true;
      case ']':
        stack_.push(Kind::list);
        return true;
      case ')':
        stack_.push_tuple(0);
        return true;
      case 0x85:
        stack_.push_tuple(1);
        return true;
      case 0x86:
        stack_.push_tuple(2);
        return true;
      case 0x87:
        stack_.push_tuple(3);
        return true;
      case 't': {
        auto parts = stack_.pop_to_mark();
        stack_.push(Kind::tuple).parts = std::move(parts);
        return true;
      }
      case 's': {
        const Ref value = stack_.pop();
        const Ref key = stack_.pop();
        stack_.append(stack_.top(), Kind::dict, {key, value});
        return true;
      }
      case 'u': {
        const auto values = stack_.pop_to_mark();
        stack_.append(stack_.top(), Kind::dict, values);
        return true;
      }
      case 'a': {
        const Ref value = stack_.pop();
        stack_.append(stack_.top(), Kind::list, {value});
        return true;
      }
      case 'e': {
        const auto values = stack_.pop_to_mark();
        stack_.append(stack_.top(), Kind::list, values);
        return true;
      }
      default:
        return false;
    }
  }

  bool step_object(unsigned char opcode) {
    switch (opcode) {
      case 'c': {
        const std::string module = line();
        push_global(stack_, module + " " + line());
        return true;
      }
      case 0x93: {  // STACK_GLOBAL
        const Ref name = stack_.pop();
        const Ref module = stack_.pop();
        if (stack_.at(name).kind != Kind::text || stack_.at(module).kind != Kind::text)
          stack_.refuse("its pickle names no function");
        push_global(stack_, stack_.at(module).text.substr(0, 256) + " " + stack_.at(name).text.substr(0, 256));
        return true;
      }
      case 'R':
        call(stack_);
        return true;
      case 'Q':
        push_storage(stack_);
        return true;
      case 'b': {  // BUILD: the attributes of an OrderedDict (_metadata), which hold no tensors
        (void)stack_.pop();
        if (stack_.top().kind != Kind::dict)
          stack_.refuse("its pickle sets the state of something that is no dictionary");
        return true;
      }
      default:
        return false;
    }
  }

  std::string_view bytes_;
  std::size_t at_ = 0;
  bool stopped_ = false;
  Stack stack_;
};

}  // namespace
}  // namespace pickle

std::vector<PickledTensor> read_state_dict(std::string_view bytes, const std::string& where) {
  return pickle::Machine(bytes, where).run();
}

}  // namespace dstrain
