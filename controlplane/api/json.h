// Reading JSON bodies under limits, with every mistake found in one go.
//
//   auto document = JsonDocument::parse(request.body);            // syntax, depth, UTF-8
//   Mistakes mistakes;
//   Fields body(*document, mistakes);
//   Fields server = body.object("server");
//   const auto name = server.string("name", 1, 255);
//   const auto ram = server.optional_integer("ram", 1, 1 << 20);
//   server.done(); body.done();                                   // refuses what was not asked for
//   if (!mistakes.empty()) return bad_request(mistakes.text());
//
// A reader that finds a mistake notes it with its path and the remedy and gives a harmless value, so that the
// code around it needs no checks. As OpenStack does, whole numbers and truth values may also be strings
// ("512", "true"); lengths count characters, not bytes; null is the same as absent for what is optional.
#pragma once

#include <boost/json/fwd.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "events/ids.h"
#include "events/result.h"

namespace reprise::api {

inline constexpr std::size_t json_depth_max = 16;

class JsonDocument {
 public:
  // An error says what is wrong at which line and column.
  static Result<JsonDocument> parse(std::string_view text);
  JsonDocument(JsonDocument&&) noexcept;
  JsonDocument& operator=(JsonDocument&&) noexcept;
  ~JsonDocument();
  const boost::json::value& root() const;

 private:
  struct Held;
  explicit JsonDocument(std::unique_ptr<Held> held);
  std::unique_ptr<Held> held_;
};

class Mistakes {
 public:
  void add(std::string_view path, std::string_view what);
  bool empty() const { return count_ == 0; }
  // All of them (beyond 16 only how many), in the order found: "server.name: …; server.colour: …".
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::size_t count_ = 0;
};

enum class JsonKind { absent, null, boolean, number, string, array, object };

class Fields {
 public:
  // The document's root, which must be an object.
  Fields(const JsonDocument& document, Mistakes& mistakes);

  // One line, no control characters; `least` and `most` in characters.
  std::string string(std::string_view key, std::size_t least, std::size_t most);
  std::optional<std::string> optional_string(std::string_view key, std::size_t least, std::size_t most);
  // May hold line breaks and tabs.
  std::string text(std::string_view key, std::size_t least, std::size_t most);
  std::optional<std::string> optional_text(std::string_view key, std::size_t least, std::size_t most);
  std::int64_t integer(std::string_view key, std::int64_t least, std::int64_t most);
  std::optional<std::int64_t> optional_integer(std::string_view key, std::int64_t least, std::int64_t most);
  bool boolean(std::string_view key);
  std::optional<bool> optional_boolean(std::string_view key);
  // A UUID, with or without dashes.
  AnyId id(std::string_view key);
  std::optional<AnyId> optional_id(std::string_view key);
  // One of the words; the first when absent from optional_word.
  std::string word(std::string_view key, const std::vector<std::string_view>& words);
  std::string optional_word(std::string_view key, const std::vector<std::string_view>& words);

  Fields object(std::string_view key);
  std::optional<Fields> optional_object(std::string_view key);
  std::vector<Fields> objects(std::string_view key, std::size_t most);  // absent: none
  std::vector<std::string> strings(std::string_view key, std::size_t most, std::size_t least_chars,
                                   std::size_t most_chars);
  // {"key": "value", …} as metadata is; absent: empty.
  std::vector<std::pair<std::string, std::string>> string_map(std::string_view key, std::size_t entries_most,
                                                              std::size_t chars_most);

  JsonKind kind(std::string_view key) const;
  // Of an array or object; 0 for everything else.
  std::size_t size(std::string_view key) const;
  std::vector<std::string> keys() const;
  // Known, accepted and without effect here.
  void ignore(std::string_view key) { seen_.emplace_back(key); }
  // A mistake that only the caller can see.
  void fail(std::string_view key, std::string_view what);
  // What nobody asked for, kept under the client's own names: name, JSON, name, JSON, …; `named_otherwise` are no such names.
  std::vector<std::string> rest(std::size_t entries_most, std::size_t bytes_most, const std::vector<std::string_view>& named_otherwise);
  // Notes every field that nobody asked for.
  void done();
  const std::string& path() const { return path_; }

 private:
  Fields(const boost::json::object* object, std::string path, Mistakes& mistakes)
      : object_(object), path_(std::move(path)), mistakes_(&mistakes) {}
  const boost::json::value* find(std::string_view key);
  const boost::json::value* required(std::string_view key);
  std::string path_of(std::string_view key) const;
  std::string read_string(const boost::json::value& value, const std::string& path, std::size_t least,
                          std::size_t most, bool lines);
  std::int64_t read_integer(const boost::json::value& value, std::string_view key, std::int64_t least,
                            std::int64_t most);
  bool read_boolean(const boost::json::value& value, std::string_view key);
  AnyId read_id(const boost::json::value& value, std::string_view key);
  std::string read_word(const boost::json::value& value, std::string_view key,
                        const std::vector<std::string_view>& words);

  const boost::json::object* object_ = nullptr;  // null: a mistake was noted, everything is absent
  std::string path_;
  Mistakes* mistakes_;
  std::vector<std::string> seen_;
};

std::size_t count_characters(std::string_view utf8);

}  // namespace reprise::api
