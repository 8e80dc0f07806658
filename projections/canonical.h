// The one encoding of rows: field by field, numbers first, zero values left out. The digest hashes it,
// the store keeps it, so two writers cannot differ (FlatBuffers gives one row several encodings).
// A row lists its fields once, in `fields`; a new field gets a new number, and rows that do not have
// it stay byte for byte as they were. Hence every member's default is its zero value.
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "events/ids.h"
#include "events/result.h"

namespace reprise {

inline void append_big_endian(std::string& out, std::uint64_t value) {
  char bytes[sizeof value];
  for (int i = 7; i >= 0; --i, value >>= 8) bytes[i] = static_cast<char>(value);
  out.append(bytes, sizeof bytes);
}

class CanonicalWriter {
 public:
  explicit CanonicalWriter(std::string& out) : out_(out) {}

  template <class T>
  void operator()(unsigned number, const char*, const T& value) {
    if (value == T{}) return;
    varint(number);
    put(value);
  }

  void varint(std::uint64_t value) {
    char bytes[10];
    std::size_t size = 0;
    for (; value >= 0x80; value >>= 7) bytes[size++] = static_cast<char>(value | 0x80);
    bytes[size++] = static_cast<char>(value);
    out_.append(bytes, size);
  }
  template <class T>
    requires std::is_integral_v<T> || std::is_enum_v<T>
  void put(T value) {
    if constexpr (std::is_enum_v<T>) {
      varint(static_cast<std::uint64_t>(value));
    } else if constexpr (std::is_signed_v<T>) {
      const auto wide = static_cast<std::int64_t>(value);
      varint(static_cast<std::uint64_t>(wide) << 1 ^ static_cast<std::uint64_t>(wide >> 63));
    } else {
      varint(value);
    }
  }
  void put(const std::string& text) {
    varint(text.size());
    out_.append(text);
  }
  template <class Tag>
  void put(const Id<Tag>& id) { fixed(id.hi), fixed(id.lo); }
  void put(const Hash& hash) { out_.append(reinterpret_cast<const char*>(hash.bytes.data()), hash.bytes.size()); }
  void put(const Born& born) { varint(born.seq), varint(born.index); }
  void put(const Position& at) { put(at.topic), put(at.partition), put(at.offset); }
  void put(Ipv4 address) { varint(address.value); }
  void put(Mac mac) { varint(mac.value); }
  void put(const AddressRange& range) { put(range.first), put(range.last); }
  void put(const FixedIp& fixed_ip) { put(fixed_ip.subnet), put(fixed_ip.address); }
  template <class T>
  void put(const std::vector<T>& items) {
    varint(items.size());
    for (const auto& item : items) put(item);
  }

 private:
  void fixed(std::uint64_t value) { append_big_endian(out_, value); }
  std::string& out_;
};

// Reads what the writer wrote. Any other bytes end in ok() == false, never in a read outside of them.
class CanonicalReader {
 public:
  explicit CanonicalReader(std::string_view in) : in_(in) { next(); }

  template <class T>
  void operator()(unsigned number, const char*, T& value) {
    if (!ok_ || number_ != number) return;
    get(value);
    next();
  }
  // Everything was read, in order, and nothing was left.
  bool done() const { return ok_ && number_ == 0; }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (in_.empty()) return fail();
      const auto byte = static_cast<std::uint8_t>(in_[0]);
      in_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return fail();
  }
  void next() { number_ = in_.empty() ? 0 : static_cast<unsigned>(varint()); }
  std::uint64_t fail() {
    ok_ = false;
    return 0;
  }

  template <class T>
    requires std::is_integral_v<T> || std::is_enum_v<T>
  void get(T& value) {
    const auto raw = varint();
    if constexpr (std::is_integral_v<T> && std::is_signed_v<T> && !std::is_same_v<T, bool>) {
      value = static_cast<T>(static_cast<std::int64_t>(raw >> 1) ^ -static_cast<std::int64_t>(raw & 1));
    } else {
      value = static_cast<T>(raw);
    }
  }
  void get(std::string& text) {
    const auto size = varint();
    if (size > in_.size()) return void(fail());
    text.assign(in_.substr(0, size));
    in_.remove_prefix(size);
  }
  std::uint64_t fixed() {
    if (in_.size() < 8) return fail();
    std::uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value = value << 8 | static_cast<std::uint8_t>(in_[i]);
    in_.remove_prefix(8);
    return value;
  }
  template <class Tag>
  void get(Id<Tag>& id) { id.hi = fixed(), id.lo = fixed(); }
  void get(Hash& hash) {
    if (in_.size() < hash.bytes.size()) return void(fail());
    std::memcpy(hash.bytes.data(), in_.data(), hash.bytes.size());
    in_.remove_prefix(hash.bytes.size());
  }
  void get(Born& born) { get(born.seq), get(born.index); }
  void get(Position& at) { get(at.topic), get(at.partition), get(at.offset); }
  void get(Ipv4& address) { get(address.value); }
  void get(Mac& mac) { get(mac.value); }
  void get(AddressRange& range) { get(range.first), get(range.last); }
  void get(FixedIp& fixed_ip) { get(fixed_ip.subnet), get(fixed_ip.address); }
  template <class T>
  void get(std::vector<T>& items) {
    const auto size = varint();
    if (size > in_.size()) return void(fail());  // every item takes at least a byte
    items.resize(size);
    for (auto& item : items) get(item);
  }

  std::string_view in_;
  unsigned number_ = 0;
  bool ok_ = true;
};

template <class Row>
std::string encode_row(const Row& row) {
  std::string bytes;
  CanonicalWriter writer(bytes);
  Row::fields(row, writer);
  return bytes;
}

template <class Row>
Result<Row> decode_row(std::string_view bytes) {
  Row row;
  CanonicalReader reader(bytes);
  Row::fields(row, reader);
  if (!reader.done()) return Error{Errc::broken, std::string("a row of table ") + Row::table_name + " does not decode"};
  return row;
}

// Keys, in an encoding that sorts as the key does: big-endian numbers, strings that end the key raw and
// others closed by a zero byte (names hold none).
class KeyWriter {
 public:
  KeyWriter& number(std::uint64_t value) {
    append_big_endian(bytes_, value);
    return *this;
  }
  KeyWriter& time(std::int64_t ms) { return number(static_cast<std::uint64_t>(ms) ^ (std::uint64_t{1} << 63)); }
  KeyWriter& byte(std::uint8_t value) {
    bytes_.push_back(static_cast<char>(value));
    return *this;
  }
  template <class Tag>
  KeyWriter& id(const Id<Tag>& id) { return number(id.hi).number(id.lo); }
  KeyWriter& word(std::string_view text) {
    bytes_.append(text).push_back('\0');
    return *this;
  }
  KeyWriter& rest(std::string_view text) {
    bytes_.append(text);
    return *this;
  }
  operator std::string() { return std::move(bytes_); }  // NOLINT: implicit by intent

 private:
  std::string bytes_;
};

class KeyReader {
 public:
  explicit KeyReader(std::string_view in) : in_(in) {}
  std::uint64_t number() {
    CHECK(in_.size() >= 8);
    std::uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value = value << 8 | static_cast<std::uint8_t>(in_[i]);
    in_.remove_prefix(8);
    return value;
  }
  template <class Tag>
  void id(Id<Tag>& id) { id.hi = number(), id.lo = number(); }
  std::string word() {
    const auto end = in_.find('\0');
    CHECK(end != std::string_view::npos);
    std::string text(in_.substr(0, end));
    in_.remove_prefix(end + 1);
    return text;
  }
  std::string rest() { return std::string(in_); }

 private:
  std::string_view in_;
};

template <class Tag>
std::string encode_key(const Id<Tag>& id) { return KeyWriter().id(id); }
template <class Tag>
void decode_key(std::string_view bytes, Id<Tag>& id) { KeyReader(bytes).id(id); }
inline std::string encode_key(const std::string& text) { return text; }
inline void decode_key(std::string_view bytes, std::string& text) { text = bytes; }

}  // namespace reprise
