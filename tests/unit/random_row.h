// A row with a random value in every field, and now and then none.
#pragma once

#include <string>
#include <vector>

#include "events/ids.h"
#include "tests/sim/prng.h"

namespace reprise::testing {

class RandomFields {
 public:
  explicit RandomFields(sim::Prng& prng) : prng_(prng) {}

  template <class T>
  void operator()(unsigned, const char*, T& value) {
    if (!prng_.chance(200)) set(value);
  }

 private:
  // Small and large numbers alike.
  std::uint64_t number() { return prng_.next() >> prng_.below(64); }
  void set(bool& value) { value = prng_.chance(500); }
  template <class T>
  requires std::is_integral_v<T> || std::is_enum_v<T>
  void set(T& value) { value = static_cast<T>(number()); }
  void set(std::string& text) {
    text.assign(prng_.below(40), ' ');
    for (auto& c : text) c = static_cast<char>(prng_.next());
  }
  template <class Tag>
  void set(Id<Tag>& id) {
    id = {number(), number()};
  }
  void set(Hash& hash) {
    for (auto& byte : hash.bytes) byte = static_cast<std::uint8_t>(prng_.next());
  }
  void set(Born& born) { set(born.seq), set(born.index); }
  void set(Position& at) { set(at.topic), set(at.partition), set(at.offset); }
  void set(Ipv4& address) { set(address.value); }
  void set(Mac& mac) { set(mac.value); }
  void set(AddressRange& range) { set(range.first), set(range.last); }
  void set(FixedIp& fixed) { set(fixed.subnet), set(fixed.address); }
  template <class T>
  void set(std::vector<T>& items) {
    items.resize(prng_.below(5));
    for (auto& item : items) set(item);
  }

  sim::Prng& prng_;
};

template <class Row>
Row random_row(sim::Prng& prng) {
  Row row;
  RandomFields fields(prng);
  Row::fields(row, fields);
  return row;
}

}  // namespace reprise::testing
