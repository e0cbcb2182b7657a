# SPDX-License-Identifier: Apache-2.0
"""Writes chat_templates.json: Jinja snippets and chat templates as jinja2 renders them, and the slots that LLaMA-Factory reads.

    pip install jinja2, and llamafactory 0.9.3 unpacked (see make_templates.py)
    python make_chat_templates.py FOLDER_0.9.3 > chat_templates.json

The environment is that of transformers 4.52 (utils/chat_template_utils.py). The chat templates are written for this test, in the
ways that published ones are written.
"""

import importlib
import json
import sys
import types
from enum import Enum

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

SNIPPETS = [
    "{{ 1 + 2 * 3 - 4 // 3 }} {{ 7 % 3 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 3 }} {{ 1.5 + 1 }} {{ 'a' ~ 1 ~ none }}",
    "{{ 1 < 2 < 3 }} {{ 'a' in 'cat' }} {{ 2 not in [1, 3] }} {{ not true or false and x }} {{ 'b' if x else 'c' }}|{{ 'b' if x }}|",
    "{{ xs[0] }}{{ xs[-1] }}{{ xs[1:] }}{{ xs[::-1] }}{{ xs[:-1] }}{{ 'héllo'[1:3] }}{{ 'abc'[::-1] }}{{ xs[5:] }}",
    "{% for x in xs %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ x }}{{ loop.nextitem }}{% endfor %}",
    "{% for x in xs if x > 1 %}{{ x }}{% else %}none{% endfor %}{% for x in [] %}{% else %}empty{% endfor %}",
    "{% for x in xs %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 3 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% set ns = namespace(found=false, n=0) %}{% for x in xs %}{% set ns.n = ns.n + x %}{% set ns.found = true %}{% endfor %}{{ ns.n }}{{ ns.found }}",
    "{% set y = 1 %}{% for x in xs %}{% set y = 5 %}{% endfor %}{{ y }}{% set z %}block {{ y }}{% endset %}{{ z }}",
    "{% macro m(a, b='d') %}<{{ a }}{{ b }}>{% endmacro %}{{ m('x') }}{{ m('x', b='y') }}{{ m(b=1, a=2) }}",
    "{% for k, v in d.items() %}{{ k }}={{ v }},{% endfor %}{{ d.get('q', 'no') }}{{ d.get('q') }}{{ d['a'] }}{{ d.b.c }}{{ 'a' in d }}{{ d | length }}",
    "{{ ' a b '.strip() }}|{{ ' a '.lstrip() }}|{{ 'xaxx'.rstrip('x') }}|{{ 'a,b,,c'.split(',') }}|{{ ' a  b '.split() }}|{{ 'a</t>b'.split('</t>')[-1] }}",
    "{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith(('x', 'c')) }}{{ 'abab'.replace('ab', 'x') }}{{ 'aB c'.upper() }}{{ 'AB'.lower() }}{{ 'some words'.title() }}",
    "{{ xs | join(', ') }} {{ xs | first }} {{ xs | last }} {{ xs | length }} {{ 'x y' | title }} {{ ' t ' | trim }} {{ u | default('dd') }} {{ '' | default('e', true) }}",
    "{{ d | tojson }} {{ d | tojson(indent=2) }} {{ 'é\"' | tojson }} {{ [1.0, 1e15 | int, true, none] | tojson }}",
    "{{ ms | map(attribute='role') | list }} {{ ms | selectattr('role', 'equalto', 'user') | list | length }} {{ ms | rejectattr('role', 'eq', 'user') | map(attribute='content') | join }} {{ xs | select('odd') | list }} {{ ['a', 'b'] | map('upper') | join }}",
    "{{ x is defined }}{{ u is defined }}{{ none is none }}{{ 'a' is string }}{{ d is mapping }}{{ xs is iterable }}{{ 3 is number }}{{ 4 is divisibleby 2 if false else 4 is even }}{{ xs is sequence }}{{ true is true }}{{ x is not none }}",
    "a\n  {% if true %}\nb\n  {% endif %}\nc {% if true %} d {% endif %} e\n{{ 1 }}\n\n{#- note -#}\n  f\n",
    "a  {%- if true -%}  b  {%- endif %}\n  c\n  {{- 'd' -}}\n  e",
    "{# a comment #}x{{ 'it''s' }}{{ \"a\\nb\" }}{{ 'q\\'q' }}{{ {'a': [1, {'b': 2}]}['a'][1].b }}",
    "{%- for m in ms %}{{ m.role }}:{{ m['content'] | trim }};{%- endfor %}{{ range(3) | list }}{{ range(1, 7, 2) | list }}{{ (1, 2) | length }}",
    "{{ xs }} {{ d }} {{ none }} {{ true }} {{ 1.0 }} {{ ['a', \"b'c\"] }} {{ d.missing }}",
    "{% if xs | length > 2 and xs[0] == 1 %}yes{% elif false %}no{% else %}other{% endif %}{{ 5 if xs else 6 }}{{ (xs | length) % 2 == 1 }}",
    "{% generation %}inside{% endgeneration %}{{ 'a' 'b' }}{{ 'x' * 1 if false else 'y' }}{{ 3 | string + '4' }}{{ '%' ~ '}' }}",
    "{% set a, b = (1, 2) %}{{ a }}{{ b }}{{ 'l1\nl2' | indent(2) }}{{ 'abc' | replace('b', 'x') | upper }}{{ '12' | int + 1 }}",
]

CHATS = {
    "marks with a default system": {
        "bos": None,
        "source": "{%- if messages[0]['role'] == 'system' %}\n    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}\n{%- else %}\n"
        "    {{- '<|im_start|>system\\nYou are kind.<|im_end|>\\n' }}\n{%- endif %}\n{%- for message in messages %}\n"
        "    {%- if message.role == \"user\" or (message.role == \"system\" and not loop.first) or message.role == \"assistant\" %}\n"
        "        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}\n    {%- endif %}\n{%- endfor %}\n"
        "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n",
    },
    "marks without system": {
        "bos": None,
        "source": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    },
    "headers behind bos, trimmed": {
        "bos": "<s>",
        "source": "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|h|>' + message['role'] + '<|/h|>\\n\\n'+ "
        "message['content'] | trim + '<|eot|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|h|>assistant<|/h|>\\n\\n' }}{% endif %}",
    },
    "thinks": {
        "bos": None,
        "source": "{%- set ns = namespace(last=messages|length - 1) %}\n{%- for m in messages[::-1] %}\n{%- set i = (messages|length - 1) - loop.index0 %}\n"
        "{%- if m.role == 'user' and m.content is string %}{%- set ns.last = i %}{%- break %}{%- endif %}\n{%- endfor %}\n"
        "{%- for m in messages %}\n{%- if m.role != 'assistant' %}\n{{- '<' + m.role + '>' + m.content + '</' + m.role + '>\\n' }}\n{%- else %}\n"
        "{%- set reasoning = '' %}\n{%- if m.reasoning_content is defined and m.reasoning_content is not none %}{%- set reasoning = m.reasoning_content %}\n"
        "{%- elif '</think>' in m.content %}{%- set reasoning = m.content.split('</think>')[0].rstrip('\\n') %}{%- endif %}\n"
        "{{- '<assistant>\\n' }}{%- if loop.index0 > ns.last %}{{- '<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' }}{%- endif %}\n"
        "{{- m.content.lstrip('\\n') + '</assistant>\\n' }}\n{%- endif %}\n{%- endfor %}\n"
        "{%- if add_generation_prompt %}\n{{- '<assistant>\\n' }}\n{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}\n{%- endif %}",
    },
    "lines with eos": {
        "bos": "<s>",
        "source": "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\\n' + message['content'] + eos_token }}\n"
        "{% elif message['role'] == 'system' %}\n{{ '<|system|>\\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n"
        "{{ '<|assistant|>\\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
    },
}


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    env.filters["tojson"] = lambda x, ensure_ascii=False, indent=None, separators=None, sort_keys=False: json.dumps(
        x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    env.globals["raise_exception"] = raise_exception
    return env


class Role(str, Enum):
    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    FUNCTION = "function"
    OBSERVATION = "observation"


def llamafactory(root):
    def module(name, **members):
        made = types.ModuleType(name)
        made.__dict__.update(members)
        sys.modules[name] = made
        return made

    module("llamafactory", __path__=[f"{root}/llamafactory"])
    module("llamafactory.data", __path__=[f"{root}/llamafactory/data"])
    log = module("llamafactory.extras.logging", get_logger=lambda name: None)
    module("llamafactory.extras", __path__=[f"{root}/llamafactory/extras"], logging=log)
    module("llamafactory.data.mm_plugin", get_mm_plugin=lambda *args, **keys: None)
    module("llamafactory.data.data_utils", Role=Role, SLOTS=list)
    return importlib.import_module("llamafactory.data.template")


class Tokenizer:
    def __init__(self, source, bos):
        self.template = environment().from_string(source)
        self.tokens = {"eos_token": "</s>", **({"bos_token": bos} if bos else {})}

    def encode(self, text):
        return text

    def decode(self, ids):
        return self.tokens.get("bos_token", "")

    def apply_chat_template(self, messages, add_generation_prompt, tokenize):
        return self.template.render(messages=messages, tools=None, documents=None,
                                    add_generation_prompt=add_generation_prompt, **self.tokens)


def main():
    variables = {"xs": [1, 2, 3], "x": 0, "d": {"a": 1, "b": {"c": "é"}},
                 "ms": [{"role": "user", "content": " hi "}, {"role": "assistant", "content": "yo"}]}
    out = {"variables": variables, "snippets": [], "chats": {}}
    for source in SNIPPETS:
        out["snippets"].append([source, environment().from_string(source).render(**variables)])
    templates = llamafactory(sys.argv[1])
    for name, chat in CHATS.items():
        parsed = templates.parse_template(Tokenizer(chat["source"], chat["bos"]))
        out["chats"][name] = {**chat, "prefix": parsed.format_prefix.slots, "system": parsed.format_system.slots,
                              "user": parsed.format_user.slots, "assistant": parsed.format_assistant.slots,
                              "default_system": parsed.default_system, "thinks": type(parsed).__name__ == "ReasoningTemplate"}
    json.dump(out, sys.stdout, ensure_ascii=False, indent=1)
    print()


main()
