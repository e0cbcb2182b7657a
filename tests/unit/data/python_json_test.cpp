// SPDX-License-Identifier: Apache-2.0
/// JSON as Python's json module has it; every expected text was printed by Python 3.11.
#include "data/tools/python_json.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace dstrain::python {
namespace {

std::string round_trip(std::string_view json, int indent = 0) {
  const auto value = parse_json(json);
  return value ? dump_json(*value, indent) : "error";
}

std::string text_of(std::string_view json) {
  const auto value = parse_json(json);
  return value ? to_text(*value) : "error";
}

TEST(PythonJson, PrintsAsDumpsDoes) {
  EXPECT_EQ(round_trip(R"({"b":1,"a":[true,false,null],"c":{}})"), R"({"b": 1, "a": [true, false, null], "c": {}})");
  EXPECT_EQ(round_trip(R"({"a":1,"b":2,"a":3})"), R"({"a": 3, "b": 2})");
  EXPECT_EQ(round_trip(R"("\u00e9\ud83d\ude00\u0001\u007f\/\b\f\n\r\t\"\\")"),
            "\"é😀\\u0001\x7f/\\b\\f\\n\\r\\t\\\"\\\\\"");
  EXPECT_EQ(round_trip("[ ]\n"), "[]");
  EXPECT_EQ(round_trip(R"({"a":[],"b":{},"c":[1,{"d":2}]})", 4),
            "{\n    \"a\": [],\n    \"b\": {},\n    \"c\": [\n        1,\n        {\n            \"d\": 2\n        }\n"
            "    ]\n}");
}

TEST(PythonJson, NumbersAreThoseOfPython) {
  EXPECT_EQ(round_trip("[1.0,1.50,1e5,1E+2,-0,-0.0,1e-4,1e-5,12345678901234567890123]"),
            "[1.0, 1.5, 100000.0, 100.0, 0, -0.0, 0.0001, 1e-05, 12345678901234567890123]");
  EXPECT_EQ(round_trip("[1e15,1e16,123456789012345680.0,1e400,-1e400,5e-324,1e-400,0.1]"),
            "[1000000000000000.0, 1e+16, 1.2345678901234568e+17, Infinity, -Infinity, 5e-324, 0.0, 0.1]");
  EXPECT_EQ(round_trip("[NaN,Infinity,-Infinity]"), "[NaN, Infinity, -Infinity]");
}

TEST(PythonJson, RefusesWhatLoadsRefuses) {
  for (const char* bad : {"",     " ",          "01",    "1.",  ".5",   "-",      "+1",      "1e",
                          "[1,]", "{\"a\":1,}", "{a:1}", "'a'", "\"a",  "\"\n\"", "\"\\x\"", "\"\\u12\"",
                          "nul",  "1 2",        "[",     "{",   "\"\\", "True",   "-NaN",    "\"\\ud800\""}) {
    EXPECT_FALSE(parse_json(bad)) << bad;
  }
  EXPECT_FALSE(parse_json(std::string(100'000, '[')));
  EXPECT_FALSE(parse_json("\"\xff\""));
}

TEST(PythonJson, TextIsStrOfTheValue) {
  EXPECT_EQ(text_of(R"("it's")"), "it's");
  EXPECT_EQ(text_of(R"(["string","null"])"), "['string', 'null']");
  EXPECT_EQ(text_of(R"([true,null,1.0,{"a":"it's"}])"), "[True, None, 1.0, {'a': \"it's\"}]");
  EXPECT_EQ(text_of(R"(["a'b\"c","\n\t\\","\u0007\u00a0\u200b\u00e9"])"),
            "['a\\'b\"c', '\\n\\t\\\\', '\\x07\\xa0\\u200bé']");
}

TEST(PythonJson, FloatsHaveTheirShortestDigits) {
  EXPECT_EQ(float_repr(0.30000000000000004), "0.30000000000000004");
  EXPECT_EQ(float_repr(1e22), "1e+22");
  EXPECT_EQ(float_repr(9007199254740993.0), "9007199254740992.0");
  EXPECT_EQ(float_repr(std::numeric_limits<double>::max()), "1.7976931348623157e+308");
}

}  // namespace
}  // namespace dstrain::python
