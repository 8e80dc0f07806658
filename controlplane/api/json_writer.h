// Writes JSON straight into a string: no tree, one pass. What is written is always well-formed as long as
// begins and ends pair up and every value in an object follows its key(). What is no UTF-8 in a text (it may be a
// daemon's last words) stands in it as U+FFFD.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "controlplane/api/utf8.h"

namespace reprise::api {

class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) : out_(out) {}

  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }

  // Keys are ours: plain ASCII, written as they are. text_key() takes anybody's.
  JsonWriter& key(std::string_view name) {
    if (comma_) out_.push_back(',');
    out_.push_back('"');
    out_.append(name).append("\":");
    comma_ = false;
    return *this;
  }
  JsonWriter& text_key(std::string_view name) {
    value(name);
    out_.push_back(':');
    comma_ = false;
    return *this;
  }

  JsonWriter& value(std::string_view text) {
    before();
    quote(text);
    return *this;
  }
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(const std::string& text) { return value(std::string_view(text)); }
  JsonWriter& value(bool yes) { return raw(yes ? "true" : "false"); }
  template <class Number>
  requires(std::is_arithmetic_v<Number> && !std::is_same_v<Number, bool>) JsonWriter& value(Number number) {
    before();
    char digits[40];
    const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
    out_.append(digits, static_cast<std::size_t>(end - digits));
    return *this;
  }
  JsonWriter& null() { return raw("null"); }
  // JSON that is ready.
  JsonWriter& raw(std::string_view json) {
    before();
    out_.append(json);
    return *this;
  }

  template <class Value>
  JsonWriter& field(std::string_view name, const Value& v) {
    return key(name).value(v);
  }
  // null when empty: what OpenStack does with most texts and ids that are not set
  JsonWriter& field_or_null(std::string_view name, std::string_view text) {
    key(name);
    return text.empty() ? null() : value(text);
  }
  JsonWriter& object(std::string_view name) { return key(name).begin_object(); }
  JsonWriter& array(std::string_view name) { return key(name).begin_array(); }

 private:
  void before() {
    if (comma_) out_.push_back(',');
    comma_ = true;
  }
  JsonWriter& open(char bracket) {
    if (comma_) out_.push_back(',');
    out_.push_back(bracket);
    comma_ = false;
    return *this;
  }
  JsonWriter& close(char bracket) {
    out_.push_back(bracket);
    comma_ = true;
    return *this;
  }
  void quote(std::string_view text) {
    out_.push_back('"');
    std::size_t done = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const auto c = static_cast<unsigned char>(text[i]);
      if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') [[likely]]
        continue;
      if (const auto bytes = c < 0x80 ? 0 : character_bytes(text.substr(i))) {
        i += bytes - 1;
        continue;
      }
      out_.append(text, done, i - done);
      escape(c);
      done = i + 1;
    }
    out_.append(text, done);
    out_.push_back('"');
  }
  void escape(unsigned char c) {
    constexpr char hex[] = "0123456789abcdef";
    if (c >= 0x80) {
      out_.append("\\ufffd");
      return;
    }
    out_.push_back('\\');
    switch (c) {
      case '"':
      case '\\':
        out_.push_back(static_cast<char>(c));
        break;
      case '\n':
        out_.push_back('n');
        break;
      case '\r':
        out_.push_back('r');
        break;
      case '\t':
        out_.push_back('t');
        break;
      default:
        out_.append("u00");
        out_.push_back(hex[c >> 4]);
        out_.push_back(hex[c & 15]);
    }
  }

  std::string& out_;
  bool comma_ = false;
};

}  // namespace reprise::api
