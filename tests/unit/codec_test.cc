#include "events/codec.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours
#include "events/hash.h"
#include "tests/unit/story.h"

namespace reprise {
namespace {

using namespace testing;

std::string noise(sim::Prng& prng, std::size_t max) {
  std::string bytes(prng.below(max), ' ');
  for (auto& c : bytes) c = static_cast<char>(prng.next());
  return bytes;
}

TEST_CASE("records read back as they were written, with their hash") {
  Scribe scribe;
  tell_spine(scribe);
  for (const auto& written : scribe.records) {
    Hash hash;
    const auto back = decode_record(written.bytes, &hash);
    REQUIRE(back.ok());
    CHECK(*back == written.record);
    CHECK(hash == written.hash);
    CHECK(encode(*back).bytes == written.bytes);
  }
}

TEST_CASE("a record with any one bit changed, or cut anywhere, is not accepted") {
  Scribe scribe;
  tell_spine(scribe);
  for (const auto& written : scribe.records) {
    Bytes bytes = written.bytes;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      bytes[i] = static_cast<char>(bytes[i] ^ (1 << (i % 8)));
      if (decode_record(bytes).ok()) FAIL("byte " << i << " of seq " << written.record.seq);
      bytes[i] = written.bytes[i];
      if (i % 7 == 0 && decode_record(std::string_view(bytes).substr(0, i)).ok()) FAIL("cut at " << i);
    }
    CHECK(!decode_record(bytes + '\0').ok());
  }
}

// Whoever can write to the log can also make the hash fit: the verifier has to hold by itself.
TEST_CASE("a changed record under a hash that fits never reads outside of its bytes") {
  Scribe scribe;
  tell_spine(scribe);
  sim::Prng prng(1);
  for (int i = 0; i < 4000; ++i) {
    Bytes bytes = scribe.records[prng.below(scribe.records.size())].bytes;
    bytes.resize(bytes.size() - 32);
    for (auto flips = 1 + prng.below(4); flips > 0; --flips)
      bytes[prng.below(bytes.size())] = static_cast<char>(prng.next());
    const Hash hash = blake2b(bytes);
    bytes.append(reinterpret_cast<const char*>(hash.bytes.data()), hash.bytes.size());
    const auto record = decode_record(bytes);
    if (record) (void)encode(*record);
  }
}

TEST_CASE("random bytes are nothing") {
  sim::Prng prng(2);
  for (int i = 0; i < 5000; ++i) {
    const auto bytes = noise(prng, 300);
    CHECK(!decode_record(bytes).ok());
    for (const auto& errc : {decode_intent(bytes).ok() ? Errc::ok : decode_intent(bytes).error().code,
                             decode_report(bytes).ok() ? Errc::ok : decode_report(bytes).error().code,
                             decode_event(bytes).ok() ? Errc::ok : decode_event(bytes).error().code})
      CHECK((errc == Errc::ok || errc == Errc::broken));
    (void)decode_heartbeat(bytes);
  }
}

TEST_CASE("changed intents and reports never crash") {
  sim::Prng prng(3);
  Intent intent = intent_of(3, 9000, make_id<AnyId>(4));
  intent.set(CreateServer{.id = make_id<ServerId>(1),
                          .name = "web",
                          .nics = {{make_id<PortId>(2), make_id<NetworkId>(3), {7}}},
                          .user_data_sealed = {1, 2},
                          .metadata = {"a", "b"}});
  const Bytes good = encode(intent);
  const auto back = decode_intent(good);
  REQUIRE(back.ok());
  CHECK(encode(*back) == good);
  CHECK(back->as<CreateServer>() == intent.as<CreateServer>());
  Report report{.node = make_id<NodeId>(1), .incarnation = 4, .number = 9};
  Observed observed;
  observed.full = true;
  observed.servers.push_back(
      std::make_unique<ServerSeen>(ServerSeen{.id = make_id<ServerId>(1), .running = true}));
  report.body.Set(std::move(observed));
  const Bytes good_report = encode(report);
  REQUIRE(decode_report(good_report).ok());
  for (int i = 0; i < 4000; ++i) {
    for (const Bytes* from : {&good, &good_report}) {
      Bytes bytes = *from;
      for (auto flips = 1 + prng.below(3); flips > 0; --flips)
        bytes[prng.below(bytes.size())] = static_cast<char>(prng.next());
      if (prng.chance(100)) bytes.resize(prng.below(bytes.size()));
      (void)decode_intent(bytes);
      (void)decode_report(bytes);
    }
  }
}

TEST_CASE("what is over its limit is refused with both numbers") {
  Intent intent = intent_of(1, 9000, {});
  intent.set(CreateServer{.description = std::string(intent_bytes_max, 'x')});
  const auto back = decode_intent(encode(intent));
  REQUIRE(!back.ok());
  CHECK(back.error().code == Errc::broken);
  CHECK_THAT(back.error().text, Catch::Contains("262144"));
}

}  // namespace
}  // namespace reprise
