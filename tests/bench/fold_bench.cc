// fold + store from the log, against RocksDB WriteBatches of the same rows in the same families.
#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include <filesystem>

#include "events/chain.h"
#include "projections/replay.h"
#include "projections/store.h"
#include "tests/bench/bench.h"

namespace reprise::bench {
namespace {

constexpr int records = 400, servers_a_record = 50, batch_records = 16;

std::unique_ptr<Store> fresh_store(const std::string& dir) {
  std::filesystem::remove_all(dir);
  auto store = Store::open({.dir = dir});
  CHECK(store.ok());
  return std::move(*store);
}

std::string big_endian(std::uint64_t value) { return KeyWriter().number(value); }
std::string little_endian(std::uint64_t value) { return {reinterpret_cast<const char*>(&value), sizeof value}; }

// The very rows, without fold, digest or decoding: what RocksDB alone takes.
double raw_seconds(Store& store, const std::vector<Changes>& changes, const std::vector<Bytes>& bytes) {
  const auto& families = *store.snapshot()->families;
  return seconds([&] {
    for (std::size_t i = 0; i < changes.size();) {
      rocksdb::WriteBatch batch;
      for (int n = 0; n < batch_records && i < changes.size(); ++n, ++i) {
        const std::string stamp = little_endian(i + 1);
        for (const auto& change : changes[i].rows) {
          const std::string key = std::string(1, static_cast<char>(change.table)) + change.key;
          CHECK(batch.Put(families.history, key, stamp, change.row.value_or("")).ok());
          CHECK(batch.Put(families.now, key, change.row.value_or("")).ok());
        }
        for (const auto& entry : changes[i].indexes) {
          const std::string key = std::string(1, static_cast<char>(0x80 | entry.table)) + static_cast<char>(entry.index) + entry.key;
          CHECK(batch.Put(families.history, key, stamp, "").ok());
          CHECK(batch.Put(families.now, key, "").ok());
        }
        for (int object = 0; object < servers_a_record; ++object)
          CHECK(batch.Put(families.trail, "o" + big_endian(5) + big_endian(i * servers_a_record + object) + big_endian(i), "").ok());
        CHECK(batch.Put(families.trail, "s" + big_endian(i), std::string(80, 'x')).ok());
        CHECK(batch.Put(families.tail, big_endian(i), bytes[i]).ok());
      }
      CHECK(families.db->Write({}, &batch).ok());
    }
  });
}

}  // namespace

void fold(const std::string& dir) {
  Cloud maker(64, true);
  std::vector<Changes> changes;
  std::vector<Bytes> bytes;
  std::vector<Record> made;
  const State before = maker.state.copy(true, false);
  const Seq first = maker.seq;
  std::uint64_t number = 0, rows = 0;
  for (int r = 0; r < records; ++r) {
    std::vector<Intent> intents;
    for (int i = 0; i < servers_a_record; ++i) intents.push_back(maker.create_server(++number));
    Record record = maker.record(intents);
    changes.push_back(maker.state.take_changes());
    rows += changes.back().rows.size();
    bytes.push_back(encode(record).bytes);
    made.push_back(std::move(record));
  }
  double folding = 0, raw = 0;
  for (int round = 0; round < 3; ++round) {
    auto raw_store = fresh_store(dir + "/raw");
    raw += raw_seconds(*raw_store, changes, bytes);
    auto store = fresh_store(dir + "/fold");
    State state = before.copy(true, false);
    folding += seconds([&] {
      Head head{.seq = first};
      for (std::size_t i = 0; i < bytes.size(); ++i) {
        Hash hash;
        auto record = decode_record(bytes[i], &hash);
        CHECK(record.ok());
        reprise::fold(state, *record);
        CHECK(state.digest() == record->digest);
        head = advance(head, *record, hash, static_cast<std::int64_t>(i));
        store->add(*record, head, bytes[i], state.take_changes(), notes_of(*record).objects);
        if ((i + 1) % batch_records == 0) CHECK(store->flush("bench").ok());
      }
      CHECK(store->flush("bench").ok());
    });
  }
  print({.name = "fold_and_store", .value = 3.0 * static_cast<double>(rows) / folding, .unit = "rows/s",
         .limit = 3.0 * static_cast<double>(rows) / raw, .goal = 0.8});
}

}  // namespace reprise::bench
