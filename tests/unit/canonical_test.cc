#include "projections/canonical.h"

#include "projections/state.h"
#include "tests/unit/random_row.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise {
namespace {

using testing::random_row;

// f(Row{}) for every row type of the state.
template <class F>
void for_each_row_type(F&& f) {
#define TABLE(Row, member) f(Row{});
#include "projections/tables.def"
#undef TABLE
}

TEST_CASE("a row's encoding reads back as the row, whatever is in it") {
  sim::Prng prng(1);
  for_each_row_type([&]<class Row>(const Row&) {
    INFO(Row::table_name);
    for (int i = 0; i < 300; ++i) {
      const Row row = random_row<Row>(prng);
      const auto bytes = encode_row(row);
      const auto back = decode_row<Row>(bytes);
      REQUIRE(back.ok());
      CHECK(*back == row);
      CHECK(encode_row(*back) == bytes);
    }
  });
}

TEST_CASE("a row of defaults takes no bytes, and every field is written") {
  sim::Prng prng(2);
  for_each_row_type([&]<class Row>(const Row& row) {
    INFO(Row::table_name);
    CHECK(encode_row(row).empty());
    // Two rows that differ in one field differ in bytes: else the digest would not see it.
    for (int i = 0; i < 300; ++i) {
      const Row one = random_row<Row>(prng), other = random_row<Row>(prng);
      CHECK((one == other) == (encode_row(one) == encode_row(other)));
    }
  });
}

TEST_CASE("random and cut bytes never crash a decode, and never read as another row's bytes") {
  sim::Prng prng(3);
  for_each_row_type([&]<class Row>(const Row&) {
    INFO(Row::table_name);
    for (int i = 0; i < 300; ++i) {
      std::string bytes = encode_row(random_row<Row>(prng));
      if (prng.chance(500) && !bytes.empty()) bytes.resize(prng.below(bytes.size()));
      for (auto flips = prng.below(4); flips > 0 && !bytes.empty(); --flips)
        bytes[prng.below(bytes.size())] = static_cast<char>(prng.next());
      (void)decode_row<Row>(bytes);
      std::string noise(prng.below(60), ' ');
      for (auto& c : noise) c = static_cast<char>(prng.next());
      (void)decode_row<Row>(noise);
    }
  });
}

TEST_CASE("keys sort as their bytes do, and read back") {
  sim::Prng prng(4);
  for_each_row_type([&]<class Row>(const Row&) {
    INFO(Row::table_name);
    for (int i = 0; i < 100; ++i) {
      const auto one = random_row<Row>(prng).key(), other = random_row<Row>(prng).key();
      CHECK((one < other) == (encode_key(one) < encode_key(other)));
      auto back = other;
      decode_key(encode_key(one), back);
      CHECK(back == one);
    }
  });
}

TEST_CASE("canonical bytes are as they always were") {
  Node node{.id = {1, 2}, .born = {300, 4}, .name = "n"};
  node.state = NodeState::lost;
  std::string hex;
  for (const char c : encode_row(node)) {
    hex += "0123456789abcdef"[static_cast<std::uint8_t>(c) >> 4];
    hex += "0123456789abcdef"[static_cast<std::uint8_t>(c) & 15];
  }
  CHECK(hex ==
        "01"
        "00000000000000010000000000000002"
        "02"
        "ac0204"
        "03"
        "016e"
        "04"
        "01");
  NodeUse use;
  use.vcpus = -1;
  CHECK(encode_row(use) == std::string("\x02\x01"));
}

}  // namespace
}  // namespace reprise
