// What a projection costs: fold + store against RocksDB alone writing the very same batches, and reads of
// the store, now and in the past. A JSON object a line, as ops/bench prints them.
//
//   projection_bench [servers] [records per batch]
#include <fmt/format.h>
#include <rocksdb/db.h>
#include <rocksdb/transaction_log.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "projections/replay.h"
#include "projections/view.h"
#include "tests/unit/story.h"
#include "tests/unit/temporary_folder.h"

namespace reprise {
namespace {

using namespace testing;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

const auto project = make_id<ProjectId>(1, 0x04);
const auto network = make_id<NetworkId>(1, 0x11);
const auto subnet = make_id<SubnetId>(1, 0x12);
const auto node = make_id<NodeId>(1, 0x14);

// As a create through the API looks: an intent, its decision, and the agents' reports.
std::vector<Written> creates(std::uint64_t servers) {
  Scribe scribe;
  BusyCloud busy(scribe, 1);
  busy.begin();
  for (std::uint64_t n = 1000; n < 1000 + servers; ++n) {
    const auto id = make_id<ServerId>(n, 0x0d);
    const auto port = make_id<PortId>(n, 0x13);
    Intent intent = intent_of(n, scribe.at_ms + 30'000, id.as<AnyId>());
    intent.set(CreateServer{
        .id = id, .name = fmt::format("server-{}", n), .flavor = "1", .nics = {{port, network, {}}}});
    scribe.positions = {{Topic::intents, 0, static_cast<std::int64_t>(n)},
                        {Topic::reports, 0, static_cast<std::int64_t>(n)}};
    scribe.write({by_intent(
        n, intent,
        {ServerCreated{.id = id,
                       .name = fmt::format("server-{}", n),
                       .flavor = "1",
                       .flavor_name = "small",
                       .vcpus = 2,
                       .ram_mib = 2048,
                       .disk_gib = 20,
                       .image = make_id<ImageId>(1, 0x0f),
                       .hostname = fmt::format("server-{}", n),
                       .project = project,
                       .user = make_id<UserId>(1, 0x05)},
         PortCreated{.id = port,
                     .network = network,
                     .mac = {0x020000000000 + n},
                     .fixed = {{subnet, {static_cast<std::uint32_t>(0x0a000000 + n)}}},
                     .project = project,
                     .server = id,
                     .device_owner = "compute:nova",
                     .delete_with_server = true},
         ServerPlaced{
             .id = id, .node = node, .considered = 5, .fitting = 3, .deadline_ms = scribe.at_ms + 60'000}})});
    scribe.write(std::vector{by_report(node, 2 * n, {ServerDiskReady{.id = id}, PortReady{.id = port}}),
                             by_report(node, 2 * n + 1, {ServerStarted{.id = id}})});
    scribe.at_ms += 3;
  }
  return std::move(scribe.records);
}

std::unique_ptr<Store> open(const std::string& dir) {
  auto store = Store::open({.dir = dir});
  if (!store) std::abort();
  return std::move(*store);
}

// Everything that a projection does with an entry, without its thread.
double fold_and_store(const std::vector<Written>& records, std::size_t batch, Store& store,
                      std::vector<rocksdb::BatchResult>* batches) {
  State state(true);
  Head head;
  const auto start = Clock::now();
  const auto flush = [&] {
    if (!store.flush("bench")) std::abort();
    if (!batches) return;
    std::unique_ptr<rocksdb::TransactionLogIterator> updates;
    auto* db = store.snapshot()->families->db.get();
    if (!db->GetUpdatesSince(
               batches->empty() ? 0 : batches->back().sequence + batches->back().writeBatchPtr->Count(),
               &updates)
             .ok())
      std::abort();
    for (; updates->Valid(); updates->Next()) batches->push_back(updates->GetBatch());
  };
  for (std::size_t i = 0; i < records.size(); ++i) {
    Step step = read_step(head, store, {static_cast<std::int64_t>(i), records[i].bytes});
    if (step.verdict != Verdict::extends || !apply_step(state, head, step)) std::abort();
    store.add(step.record, head, records[i].bytes, state.take_changes(), notes_of(step.record).objects);
    if ((i + 1) % batch == 0) flush();
  }
  flush();
  return seconds_since(start);
}

double raw(std::vector<rocksdb::BatchResult>& batches, Store& store) {
  auto* db = store.snapshot()->families->db.get();
  const auto start = Clock::now();
  for (auto& batch : batches)
    if (!db->Write({}, batch.writeBatchPtr.get()).ok()) std::abort();
  return seconds_since(start);
}

void print(const char* name, double value, const char* unit) {
  fmt::print("{{\"name\":\"{}\",\"value\":{:.4g},\"unit\":\"{}\"}}\n", name, value, unit);
}

template <class F>
double micros_each(int times, F&& f) {
  const auto start = Clock::now();
  for (int i = 0; i < times; ++i) f(i);
  return seconds_since(start) / times * 1e6;
}

void reads(const View& now, const View& past, std::uint64_t servers) {
  const auto some = [&](int i) {
    return make_id<ServerId>(1000 + static_cast<std::uint64_t>(i) * 7919 % (servers / 2), 0x0d);
  };
  const auto found = [](const auto& row) {
    if (!row) std::abort();
  };
  const double get = micros_each(50'000, [&](int i) { found(now.find<Server>(some(i))); });
  print("view_get", get, "us");
  const double get_past = micros_each(20'000, [&](int i) { found(past.find<Server>(some(i))); });
  print("view_get_past", get_past, "us");
  print("view_get_past_ratio", get / get_past, "ratio");
  for (const auto* view : {&now, &past}) {
    std::size_t rows = 0;
    const double list = micros_each(20, [&](int) {
      rows = 0;
      view->each_by<Server>(Server::by_project, encode_key(project),
                            [&](const Server&) { return ++rows < 1000; });
    });
    print(view == &now ? "view_list_1000" : "view_list_1000_past", list / 1000, "ms");
  }
  const auto start = Clock::now();
  const auto state = load_state(now);
  if (!state) std::abort();
  print("load_state", static_cast<double>(servers) / seconds_since(start), "servers/s");
}

void run(std::uint64_t servers, std::size_t batch) {
  const auto records = creates(servers);
  std::size_t bytes = 0;
  for (const auto& record : records) bytes += record.bytes.size();
  {
    State state;
    Head head;
    MemoryHashes seen;
    const auto start = Clock::now();
    for (std::size_t i = 0; i < records.size(); ++i) {
      const Step step = read_step(head, seen, {static_cast<std::int64_t>(i), records[i].bytes});
      if (!apply_step(state, head, step)) std::abort();
    }
    print("fold_alone", static_cast<double>(records.size()) / seconds_since(start), "records/s");
  }
  TemporaryFolder folder;
  if (std::getenv("PROFILE")) {
    for (int i = 0; i < 10; ++i) fold_and_store(records, batch, *open(folder.path(fmt::format("p{}", i))), nullptr);
    return;
  }
  std::vector<rocksdb::BatchResult> batches;
  fold_and_store(records, batch, *open(folder.path("captured")), &batches);
  std::size_t operations = 0;
  for (const auto& one : batches) operations += one.writeBatchPtr->Count();
  double best = 1e9, best_raw = 1e9;
  for (int i = 0; i < 3; ++i) {
    auto store = open(folder.path(fmt::format("store-{}", i)));
    best = std::min(best, fold_and_store(records, batch, *store, nullptr));
    auto other = open(folder.path(fmt::format("raw-{}", i)));
    best_raw = std::min(best_raw, raw(batches, *other));
  }
  print("record_bytes", static_cast<double>(bytes) / static_cast<double>(records.size()), "bytes");
  print("writes_per_record", static_cast<double>(operations) / static_cast<double>(records.size()), "writes");
  print("fold_store", static_cast<double>(records.size()) / best, "records/s");
  print("fold_store_writes", static_cast<double>(operations) / best, "writes/s");
  print("raw_writes", static_cast<double>(operations) / best_raw, "writes/s");
  print("fold_store_ratio", best_raw / best, "ratio");
  auto store = open(folder.path("store-0"));
  const View now = View::now(store->snapshot());
  const auto past = View::at(store->snapshot(), now.seq() / 2 + 10);
  if (!past) std::abort();
  reads(now, *past, servers);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  print("rss_max", static_cast<double>(usage.ru_maxrss) / 1024, "MiB");
}

}  // namespace
}  // namespace reprise

int main(int argc, char** argv) {
  reprise::run(argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 10'000,
               argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 64);
}
