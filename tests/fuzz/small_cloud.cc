#include "tests/fuzz/small_cloud.h"

#include <cstdlib>

#include "controlplane/decide/decide.h"
#include "projections/replay.h"
#include "tests/fuzz/http_ask.h"
#include "tests/unit/story.h"

namespace reprise::fuzz {
namespace {

using testing::make_id;

constexpr int steps = 120;

}  // namespace

SmallCloud::SmallCloud() {
  auto opened = Store::open({.dir = folder_.path("store")});
  if (!opened) fail(opened.error().text.c_str());
  store_ = std::move(*opened);
  scribe_.state = State(true, true);
  tell();
  remember();
}

// A record at a time goes into the store, so that the past is there too.
void SmallCloud::tell() {
  testing::Scribe told;
  testing::BusyCloud busy(told, 21);
  busy.begin();
  for (int i = 0; i < steps; ++i) busy.step();
  told.at_ms =
      std::max(told.at_ms, api::wall_ms());  // what has expired until today goes with the record below
  project = make_id<ProjectId>(1, 0x04), admin = make_id<UserId>(1, 0x05), member = make_id<UserId>(2, 0x05);
  const auto admins = make_id<RoleId>(2, 0x06), readers = make_id<RoleId>(3, 0x06),
             members = make_id<RoleId>(1, 0x06);
  const NodeStarted roomy{.id = make_id<NodeId>(3, 0x14),
                          .nonce = make_id<AnyId>(3, 0x99),
                          .boot_id = "b0071d",
                          .zone = "nova",
                          .vcpus = 1000,
                          .ram_mib = 1 << 20,
                          .disk_gib = 100'000,
                          .compute_driver = "simulated",
                          .storage_driver = "simulated",
                          .network_driver = "simulated",
                          .address = "192.0.2.11",
                          .version = "1"};
  told.write({RoleCreated{.id = admins, .name = "admin"}, RoleCreated{.id = readers, .name = "reader"},
              UserCreated{.id = member, .name = "mia", .password_hash = "none", .default_project = project},
              RoleAssigned{.project = project, .user = admin, .role = admins},
              RoleAssigned{.project = project, .user = member, .role = members},
              QuotaSet{.project = project,
                       .instances = -1,
                       .cores = -1,
                       .ram_mib = -1,
                       .volumes = -1,
                       .gigabytes = -1,
                       .networks = -1,
                       .subnets = -1,
                       .ports = -1,
                       .key_pairs = -1},
              NodeAdmitted{.id = roomy.id, .name = "host-3"}, roomy});
  for (const auto& written : told.records) {
    const auto step =
        read_step(scribe_.head, *store_, {static_cast<std::int64_t>(scribe_.head.seq), written.bytes});
    if (!apply_step(scribe_.state, scribe_.head, step)) fail("the story does not fold");
    store_->add(written.record, scribe_.head, written.bytes, scribe_.state.take_changes(),
                notes_of(written.record).objects);
  }
  if (!store_->flush("memory:")) fail("the store takes nothing");
  scribe_.at_ms = told.at_ms, scribe_.positions = told.positions;
  cloud = scribe_.state.the_cloud().id;
  log_ = scribe_.head.log;
}

void SmallCloud::remember() {
  mark_ = scribe_.state.mark();
  const auto table = [&]<class Row>(const Table<Row>& rows) {
    rows.each([&](const Row& row) { rows_[{Row::table, encode_key(row.key())}] = encode_row(row); });
    if constexpr (HasIndexes<Row>)
      for (std::uint8_t index = 0; index < indexes_max; ++index)
        rows.each_entry(index, [&](std::string_view entry, const Row&) {
          return entries_.insert(index_key(Row::table, index, entry)), true;
        });
  };
#define TABLE(Row, member) table(scribe_.state.member);
#include "projections/tables.def"
#undef TABLE
  const auto& state = scribe_.state;
  const auto name = [this](const char* word, const auto& rows, auto of) {
    rows.each([&](const auto& row) { ids_[word].push_back(of(row)); });
  };
  const auto id = [](const auto& row) { return row.id.str(); };
  name("server", state.servers, id), name("volume", state.volumes, id), name("image", state.images, id);
  name("network", state.networks, id), name("subnet", state.subnets, id), name("port", state.ports, id);
  name("user", state.users, id), name("project", state.projects, id), name("role", state.roles, id);
  name("node", state.nodes, [](const Node& row) { return row.name; });
  name("flavor", state.flavors, [](const Flavor& row) { return row.id; });
  ids_["log"] = {log_.str()};
  name("keypair", state.keypairs, [](const Keypair& row) { return row.id.name; });
}

const std::vector<std::string>& SmallCloud::ids(std::string_view word) const {
  static const std::vector<std::string> none;
  const auto at = ids_.find(word);
  return at == ids_.end() ? none : at->second;
}

View SmallCloud::view() const {
  const std::lock_guard lock(mutex_);
  return View::now(store_->snapshot());
}
Result<View> SmallCloud::view_at(Seq seq) const {
  const std::lock_guard lock(mutex_);
  return View::at(store_->snapshot(), seq);
}

ProjectionStatus SmallCloud::status() const {
  const std::lock_guard lock(mutex_);
  return {.head = scribe_.head,
          .digest = scribe_.state.digest(),
          .cloud = cloud,
          .log_place = "memory:",
          .caught_up = true};
}

void SmallCloud::store(const testing::Written& written) {
  auto changes = scribe_.state.take_changes();
  for (const auto& row : changes.rows) changed_.rows.push_back({row.table, row.key, {}});
  for (const auto& entry : changes.indexes) changed_.indexes.push_back(entry);
  store_->add(written.record, scribe_.head, written.bytes, std::move(changes),
              notes_of(written.record).objects);
  if (!store_->flush("memory:")) fail("the store takes nothing");
}

void SmallCloud::submit(Intent intent, DecidedCallback callback) {
  DecidedAnswer answer;
  if (encode(intent).size() > intent_bytes_max)
    return callback(
        Error{Errc::invalid, "the request is too large: more than 256 KiB as it goes into the log"});
  {
    const std::lock_guard lock(mutex_);
    scribe_.at_ms = std::max(scribe_.at_ms, api::wall_ms());
    const auto& written = scribe_.write(
        std::vector{testing::by_intent(++intents_, intent, decide(scribe_.state, intent, scribe_.at_ms))});
    store(written);
    answer = {.seq = written.record.seq, .at_ms = scribe_.at_ms, .decision = written.record.decisions[0]};
  }
  callback(std::move(answer));
}

Result<std::vector<StoredRecord>> SmallCloud::read_records(Seq from, std::size_t max) const {
  const View now = view();
  std::vector<StoredRecord> records;
  for (Seq seq = std::max<Seq>(from, 1); seq <= now.seq() && records.size() < max; ++seq) {
    const auto line = now.line_of(seq);
    auto bytes = now.tail(seq);
    if (!line || !bytes) return Error{Errc::not_found, "the record is not kept any more"};
    records.push_back({seq, line->hash, line->offset, std::move(*bytes)});
  }
  return records;
}

std::string SmallCloud::back() {
  const std::lock_guard lock(mutex_);
  if (changed_.empty()) return {};
  auto wrong = check_counters(scribe_.state);
  auto& state = scribe_.state;
  state.roll_back(mark_);
  for (auto& row : changed_.rows)
    if (const auto was = rows_.find({row.table, row.key}); was != rows_.end()) row.row = was->second;
  for (auto& entry : changed_.indexes)
    entry.added = entries_.contains(index_key(entry.table, entry.index, entry.key));
  auto& head = scribe_.head;
  head.log = log_, head.sealed_to = {};  // a sealed one is open again
  const Record record{.log = head.log,
                      .level = head.level,
                      .seq = head.seq + 1,
                      .prev = head.hash,
                      .at_ms = scribe_.at_ms,
                      .controller = head.controller,
                      .positions = scribe_.positions,
                      .digest = state.digest()};
  const auto sealed = encode(record);
  head = advance(head, record, sealed.hash, head.offset + 1);
  store_->add(record, head, sealed.bytes, std::exchange(changed_, {}), {});
  if (!store_->flush("memory:")) fail("the store takes nothing");
  return wrong;
}

}  // namespace reprise::fuzz
