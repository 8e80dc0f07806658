// fold + store from the log, against RocksDB WriteBatches of the same rows in the same families.
#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include <filesystem>
#include <map>

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

// What a batch comes to: each record's rows for the history, the last of each key for now, in order of the keys.
struct RawBatch {
  using Rows = std::map<std::string, std::optional<std::string>>;
  std::vector<Rows> records;
  Rows now;
};

std::vector<RawBatch> raw_batches(const std::vector<Changes>& changes) {
  std::vector<RawBatch> batches;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (i % batch_records == 0) batches.emplace_back();
    auto& rows = batches.back().records.emplace_back();
    for (const auto& change : changes[i].rows) rows[row_key(change.table, change.key)] = change.row;
    for (const auto& entry : changes[i].indexes)
      rows[index_key(entry.table, entry.index, entry.key)] =
          entry.added ? std::optional<std::string>("") : std::nullopt;
    for (const auto& [key, row] : rows) batches.back().now[key] = row;
  }
  return batches;
}

// The very rows, without fold, digest or decoding: what RocksDB alone takes.
double raw_seconds(Store& store, const std::vector<RawBatch>& batches, const std::vector<Bytes>& bytes) {
  const auto& families = *store.snapshot()->families;
  return seconds([&] {
    std::uint64_t i = 0;
    for (const auto& raw : batches) {
      rocksdb::WriteBatch batch;
      for (const auto& rows : raw.records) {
        const std::string stamp = timestamp_of(i + 1);
        for (const auto& [key, row] : rows)
          CHECK((row ? batch.Put(families.history, key, stamp, *row) : batch.Delete(families.history, key, stamp)).ok());
        for (std::uint64_t object = 0; object < servers_a_record; ++object)
          CHECK(batch.Put(families.trail, object_key({5, i * servers_a_record + object}, i), "").ok());
        CHECK(batch.Put(families.trail, line_key(i), std::string(80, 'x')).ok());
        CHECK(batch.Put(families.tail, tail_key(i), bytes[i]).ok());
        ++i;
      }
      for (const auto& [key, row] : raw.now)
        CHECK((row ? batch.Put(families.now, key, *row) : batch.Delete(families.now, key)).ok());
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
  const auto batches = raw_batches(changes);
  double folding = 0, raw = 0;
  for (int round = 0; round < 3; ++round) {
    auto raw_store = fresh_store(dir + "/raw");
    raw += raw_seconds(*raw_store, batches, bytes);
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
