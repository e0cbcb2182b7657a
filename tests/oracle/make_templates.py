# SPDX-License-Identifier: Apache-2.0
"""Writes templates.json: what LLaMA-Factory itself renders for every template and tool format it knows.

Made with llamafactory 0.9.3 and, for the templates and tool formats that came later, 0.9.5:

    pip download --no-deps llamafactory==0.9.3 llamafactory==0.9.5, unpack each wheel into a folder
    python make_templates.py FOLDER_0.9.3 FOLDER_0.9.5 > templates.json

Only data/template.py, formatter.py and tool_utils.py are run; their neighbours (logging, multimodal plugins) are replaced by
nothing, so that no other package is needed. A template's turns go through its own _encode with a tokenizer that keeps
elements apart. Dates are fixed.
"""

import datetime
import importlib
import json
import sys
import types
from enum import Enum


class Role(str, Enum):
    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    FUNCTION = "function"
    OBSERVATION = "observation"


class FixedDate(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 11, 21)


def load(root):
    for name in [name for name in sys.modules if name.split(".")[0] == "llamafactory"]:
        del sys.modules[name]

    def package(name, path):
        module = types.ModuleType(name)
        module.__path__ = [path]
        sys.modules[name] = module
        return module

    package("llamafactory", f"{root}/llamafactory")
    package("llamafactory.data", f"{root}/llamafactory/data")
    extras = package("llamafactory.extras", f"{root}/llamafactory/extras")
    log = types.ModuleType("llamafactory.extras.logging")
    log.get_logger = lambda name: types.SimpleNamespace(info_rank0=print, warning_rank0=print)
    sys.modules["llamafactory.extras.logging"] = extras.logging = log
    plugins = types.ModuleType("llamafactory.data.mm_plugin")
    plugins.get_mm_plugin = lambda *args, **keys: None
    sys.modules["llamafactory.data.mm_plugin"] = plugins
    utils = types.ModuleType("llamafactory.data.data_utils")
    utils.Role, utils.SLOTS = Role, list
    sys.modules["llamafactory.data.data_utils"] = utils
    tools = importlib.import_module("llamafactory.data.tool_utils")
    tools.datetime = FixedDate
    return importlib.import_module("llamafactory.data.template"), tools


class Elements:
    """A tokenizer whose ids are the elements; the ids of bos and eos are their names."""

    bos_token_id, eos_token_id = "<bos>", "<eos>"

    def encode(self, text, add_special_tokens):
        return [text]

    def convert_tokens_to_ids(self, token):
        return {"token": token}


TOOLS = [
    {
        "name": "area",
        "description": "Flächen, {tool_names}",
        "parameters": {
            "type": "object",
            "properties": {
                "shape": {"type": "string", "description": "which \"one\"", "enum": ["square", "circle"]},
                "sides": {"type": "array", "description": "lengths", "items": {"type": "number"}, "default": [1e16, 0.1]},
                "unit": {"type": ["string", "null"]},
            },
            "required": ["shape"],
        },
    },
    {
        "type": "function",
        "function": {"name": "now", "description": "the time\n", "parameters": {"type": "object", "properties": {}}},
    },
]
CALLS = [
    {"name": "area", "arguments": {"shape": "sq/uare \"1\"\t", "sides": [7, 2.50, 1e-7, -3e20], "on": True, "no": None}},
    {"name": "now", "arguments": {}},
]
CALL = {"name": "area", "arguments": {"z": {"b": 1, "a": "é"}, "shape": "circle", "sides": []}}


def message(role, content):
    return {"role": role, "content": content}


def conversations(parallel, thought):
    call = json.dumps(CALLS if parallel else CALL, ensure_ascii=False)
    return {
        "plain": ([message("user", "Q {{idx}}"), message("assistant", "A"), message("user", ""), message("assistant", "B\n")], "", ""),
        "tools": (
            [
                message("user", "Q"),
                message("function", call),
                message("observation", '{"x": 1}'),
                message("assistant", "<think>\nwhy\n</think>\n\nB"),
            ],
            "Be {{content}}.",
            json.dumps(TOOLS, ensure_ascii=False),
        ),
        "thought": ([message("user", "Q"), message("function", (thought or "") + json.dumps(CALL))], "", "[]"),
    }


def rendered(template, messages, system, tools):
    turns = template._encode(Elements(), [dict(m) for m in messages], system, tools)
    return turns


def thoughts(template, enable):
    """Question and answer ids of one turn with and without thoughts, earlier answers included."""
    words = [word.strip() for word in template.thought_words]
    template.enable_thinking = enable
    messages = [message("user", "Q"), message("assistant", f"{template.thought_words[0]}t{template.thought_words[1]}A"),
                message("user", "R"), message("assistant", "B")]
    many = [list(pair) for pair in template.encode_multiturn(Elements(), messages, "", "")]
    one = list(template.encode_oneturn(Elements(), messages, "", ""))
    return {"words": words, "multi": many, "one": one}


def describe(template, newer):
    parallel = not any(name in template.format_tools.tool_utils.__class__.__name__ for name in ("GLM4ToolUtils",)) \
        if hasattr(template.format_tools, "tool_utils") else True
    reasoning = "Reasoning" in type(template).__name__
    # 0.9.5 takes the thoughts of its other templates' calls apart by other words; dstrain keeps 0.9.3's rule for them.
    thought = "<think>\nwell\n</think>\n\n"
    if newer:
        thought = "well".join(template.thought_words) if reasoning else None
    turns = {name: rendered(template, *given) for name, given in conversations(parallel, thought).items()}
    # The tools' text is the same for every template of a format, and tested there.
    tools = template.format_tools.apply(content=json.dumps(TOOLS, ensure_ascii=False))[0]
    turns["tools"] = [[e.replace(tools, "<<tools>>") if isinstance(e, str) else e for e in turn] for turn in turns["tools"]]
    out = {"parallel": parallel, "stop_words": template.stop_words, "default_system": template.default_system,
           "efficient_eos": template.efficient_eos, "replace_eos": template.replace_eos, "call_thought": thought, "turns": turns}
    if reasoning:
        out["thoughts"] = {str(enable): thoughts(template, enable) for enable in (True, False, None)}
    return out


def main():
    old, old_tools = load(sys.argv[1])
    result = {"tools": json.dumps(TOOLS, ensure_ascii=False), "calls": json.dumps(CALLS, ensure_ascii=False),
              "call": json.dumps(CALL, ensure_ascii=False), "templates": {}, "formats": {}}
    known = dict(old.TEMPLATES)
    for name, template in known.items():
        result["templates"][name] = describe(template, newer=False)
    formats = {name: (old_tools, tool) for name, tool in old_tools.TOOLS.items()}
    new, new_tools = load(sys.argv[2])
    for name, template in new.TEMPLATES.items():
        if name not in known:
            result["templates"][name] = describe(template, newer=True)
    for name, tool in new_tools.TOOLS.items():
        formats.setdefault(name, (new_tools, tool))
    for name, (module, tool) in formats.items():
        calls = [CALL] if name == "glm4" else CALLS
        functions = [module.FunctionCall(c["name"], json.dumps(c["arguments"], ensure_ascii=False)) for c in calls]
        result["formats"][name] = {"describe": tool.tool_formatter(TOOLS), "call": tool.function_formatter(functions)}
    json.dump(result, sys.stdout, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    print()


main()
