// reprise_history sizes STORE: how large each column family of a projection is, in bytes.
//
// reprise_history LOG EVENTS [SERVERS]: a long life for the cloud whose genesis is in the embedded log LOG,
// as `reprise init` left it: servers, volumes, ports, networks and people come, change and go until so many
// events are written. Every decision is decide()'s, and nodes answer as agents would: what is written is what
// a controller would have written, in records of a few decisions each. Prints one JSON object. Log time is
// the wall clock's; nothing of it was ever an entry of the other topics, so that positions stay where they
// are.
#include <fmt/format.h>
#include <rocksdb/db.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <mutex>
#include <random>
#include <set>

#include "controlplane/decide/decide.h"
#include "events/chain.h"
#include "events/embedded_log.h"
#include "projections/fetch.h"
#include "projections/fold.h"
#include "projections/replay.h"
#include "projections/store.h"
#include "tests/sim/prng.h"

namespace reprise::bench {
namespace {

using namespace std::chrono_literals;
constexpr std::size_t nodes_count = 200, networks_count = 20, open_bytes_max = 32u << 20, intents_max = 8;

std::int64_t wall_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

class History {
 public:
  History(std::unique_ptr<Log> log, std::size_t servers) : log_(std::move(log)), servers_wanted_(servers) {}

  void live(std::uint64_t events_wanted);
  std::uint64_t events = 0, bytes = 0, refused = 0;
  Head head;

 private:
  struct Draft {
    Record record;
    RecordFrame frame;
  };

  void read_genesis();
  void begin();
  Draft open();
  void write(Draft draft);
  void claim();
  void intend(Draft& draft, AnyId object, wire::IntentBodyUnion body);
  template <IntentBody T>
  void intend(Draft& draft, AnyId object, T body) {
    wire::IntentBodyUnion any;
    any.Set(std::move(body));
    intend(draft, object, std::move(any));
  }
  void report(Draft& draft);
  void say(Draft& draft, NodeId id, Observed observed);
  void see(const Server& row, Observed& seen);
  void see(const Volume& row, Observed& seen);
  void something(Draft& draft);
  template <class Id>
  Id fresh() {
    return Id{0x5eed0000 + Id{}.hi, ++last_id_};
  }
  template <class Id>
  Id any(const std::vector<Id>& ids) {
    return ids.empty() ? Id{} : ids[prng_.below(ids.size())];
  }

  const std::unique_ptr<Log> log_;
  const std::size_t servers_wanted_;
  State state_;
  sim::Prng prng_{20261123};
  UserId user_;
  ProjectId project_;
  ImageId image_;
  std::vector<NetworkId> networks_;
  std::vector<ServerId> servers_;
  std::vector<VolumeId> volumes_;
  std::set<ServerId> open_servers_;  // whose nodes have something to report
  std::set<VolumeId> open_volumes_;
  std::uint64_t last_id_ = 0, intents_ = 0;
  std::unique_ptr<Producer> producer_;
  std::mutex mutex_;
  std::condition_variable answered_;
  std::size_t open_bytes_ = 0;
};

void History::read_genesis() {
  const auto end = fetch_end(*log_, Topic::events, 10s);
  CHECK(end.ok() && *end > 0);
  auto reader = WaitingReader::open(*log_, Topic::events, 0);
  CHECK(reader.ok());
  MemoryHashes seen;
  while (reader->position() < *end) {
    const auto entries = reader->next(256, 10s);
    CHECK(entries.ok());
    for (const auto& entry : *entries) {
      const Step step = read_step(head, seen, entry);
      seen.add(step.hash);
      CHECK(step.verdict == Verdict::extends && apply_step(state_, head, step));
    }
  }
  state_.users.each([&](const User& row) { return user_ = row.id, true; });
  state_.projects.each([&](const Project& row) { return project_ = row.id, true; });
}

History::Draft History::open() {
  Draft draft{.record = {.log = head.log,
                         .level = head.level,
                         .seq = head.seq + 1,
                         .prev = head.hash,
                         .at_ms = std::max(head.at_ms, wall_ms()),
                         .controller = head.controller}};
  draft.frame = {.seq = draft.record.seq, .at_ms = draft.record.at_ms};
  fold_begin(state_, draft.frame);
  return draft;
}

void History::write(Draft draft) {
  Record& record = draft.record;
  fold_end(state_, record.positions);
  record.digest = state_.digest();
  auto sealed = encode(record);
  head = advance(head, record, sealed.hash, head.offset + 1);
  for (const auto& decision : record.decisions) events += decision.events.size();
  bytes += sealed.bytes.size();
  {
    std::unique_lock lock(mutex_);
    answered_.wait(lock, [&] { return open_bytes_ < open_bytes_max; });
    open_bytes_ += sealed.bytes.size();
  }
  const auto size = sealed.bytes.size();
  producer_->append(Topic::events, std::move(sealed.bytes), [this, size](const Result<std::int64_t>& offset) {
    CHECK(offset.ok());
    const std::lock_guard lock(mutex_);
    open_bytes_ -= size;
    answered_.notify_one();
  });
}

void History::claim() {
  const ControllerId id{0xc0, head.seq + 1};
  Draft draft = open();
  draft.record.controller = id;
  Decision decision{.cause = Cause::controller,
                    .events = {ControllerStarted{.controller = id, .host = "history"}}};
  fold_decision(state_, draft.frame, decision);
  draft.record.decisions.push_back(std::move(decision));
  write(std::move(draft));
}

void History::intend(Draft& draft, AnyId object, wire::IntentBodyUnion body) {
  Intent intent{.id = {0x1e, ++intents_},
                .request_id = fmt::format("req-00000000-0000-4000-8000-{:012x}", intents_),
                .user = user_,
                .project = project_,
                .sent_ms = draft.record.at_ms,
                .expires_ms = draft.record.at_ms + 50,
                .client = "192.0.2.7",
                .object = object};
  intent.body = std::move(body);
  Decision decision{.cause = Cause::intent,
                    .position = {Topic::intents, 0, static_cast<std::int64_t>(intents_)},
                    .intent = encode(intent),
                    .events = decide(state_, intent, draft.record.at_ms)};
  if (decision.events[0].is<IntentRefused>()) ++refused;
  fold_decision(state_, draft.frame, decision, &intent);
  draft.record.decisions.push_back(std::move(decision));
}

// What the compute, storage and network agents of its node would say of it now.
void History::see(const Server& row, Observed& seen) {
  const bool placed = row.tenure == Tenure::placed;
  bool ready = row.disk_ready;
  state_.ports.each_by(Port::by_server, encode_key(row.id), [&](const Port& port) {
    seen.ports.push_back(std::make_unique<PortSeen>(
        PortSeen{.id = port.id, .born = port.born, .since = head.seq, .present = placed, .ready = placed}));
    ready = ready && port.status == PortStatus::active;
    return true;
  });
  seen.disks.push_back(std::make_unique<DiskSeen>(DiskSeen{.id = row.id.as<AnyId>(),
                                                           .born = row.born,
                                                           .since = head.seq,
                                                           .present = placed,
                                                           .size_gib = row.disk_gib}));
  if (placed && !ready) return;
  ServerSeen server{.id = row.id,
                    .born = row.born,
                    .since = head.seq,
                    .present = placed,
                    .running = placed && row.on,
                    .cause = row.on ? StopCause::none : StopCause::asked,
                    .power_seq = row.power_seq,
                    .reboot_seq = row.reboot_seq};
  state_.volumes.each_by(Volume::by_server, encode_key(row.id), [&](const Volume& volume) {
    if (volume.status != VolumeStatus::detaching) server.volumes.push_back(volume.id);
    return true;
  });
  seen.servers.push_back(std::make_unique<ServerSeen>(std::move(server)));
}

void History::see(const Volume& row, Observed& seen) {
  seen.disks.push_back(std::make_unique<DiskSeen>(DiskSeen{.id = row.id.as<AnyId>(),
                                                           .born = row.born,
                                                           .since = head.seq,
                                                           .present = row.status != VolumeStatus::deleting,
                                                           .size_gib = row.size_gib}));
}

// Each agent of each node with something new says it; what is settled then is asked no more.
void History::report(Draft& draft) {
  std::map<NodeId, Observed> seen;
  std::erase_if(open_servers_, [&](const ServerId& id) {
    const Server* row = state_.servers.find(id);
    if (!row || !row->node) return true;
    bool volumes = true;
    state_.volumes.each_by(Volume::by_server, encode_key(id), [&](const Volume& one) {
      volumes = volumes && one.status == VolumeStatus::in_use;
      return true;
    });
    if (row->task == TaskState::none && row->tenure == Tenure::placed && volumes) return true;
    see(*row, seen[row->node]);
    return false;
  });
  std::erase_if(open_volumes_, [&](const VolumeId& id) {
    const Volume* row = state_.volumes.find(id);
    if (!row || (row->status != VolumeStatus::creating && row->status != VolumeStatus::deleting)) return true;
    see(*row, seen[row->node]);
    return false;
  });
  for (auto& [id, observed] : seen) {
    Observed disks, ports;
    disks.agent = wire::AgentKind::storage, disks.disks = std::move(observed.disks);
    ports.agent = wire::AgentKind::network, ports.ports = std::move(observed.ports);
    observed.agent = wire::AgentKind::compute;
    for (auto* one : {&disks, &ports, &observed}) say(draft, id, std::move(*one));
  }
}

void History::say(Draft& draft, NodeId id, Observed observed) {
  const Node& node = state_.nodes.at(id);
  Report said{.node = id, .incarnation = node.incarnation, .number = reports_taken(state_, node) + 1};
  observed.realized = head.seq;
  said.body.Set(std::move(observed));
  auto verdict = decide(state_, said, draft.record.at_ms);
  if (!verdict.take || verdict.events.empty()) return;
  Decision decision{.cause = Cause::report,
                    .position = {Topic::reports, 0, 0},
                    .node = id,
                    .report = said.number,
                    .events = std::move(verdict.events)};
  fold_decision(state_, draft.frame, decision);
  draft.record.decisions.push_back(std::move(decision));
}

void History::begin() {
  auto opened = log_->open_producer();
  CHECK(opened.ok());
  producer_ = std::move(*opened);
  read_genesis();
  claim();
  Draft draft = open();
  intend(draft, {},
         SetQuota{.project = project_,
                  .instances = -1,
                  .cores = -1,
                  .ram_mib = -1,
                  .volumes = -1,
                  .gigabytes = -1,
                  .networks = -1,
                  .subnets = -1,
                  .ports = -1,
                  .key_pairs = -1});
  image_ = fresh<ImageId>();
  intend(draft, image_.as<AnyId>(),
         CreateImage{.id = image_, .name = "guest", .disk_format = "qcow2", .container_format = "bare"});
  intend(draft, image_.as<AnyId>(),
         StoreImage{.id = image_, .size = 1 << 20, .virtual_size = 64 << 20, .md5 = "m", .sha512 = "s"});
  for (std::size_t i = 0; i < networks_count; ++i) {
    const auto network = networks_.emplace_back(fresh<NetworkId>());
    intend(draft, network.as<AnyId>(),
           CreateNetwork{.id = network, .name = fmt::format("net-{}", i), .shared = true});
    const auto subnet = fresh<SubnetId>();
    intend(draft, subnet.as<AnyId>(),
           CreateSubnet{.id = subnet,
                        .network = network,
                        .name = fmt::format("subnet-{}", i),
                        .base = {static_cast<std::uint32_t>(10u << 24 | i << 16)},
                        .prefix = 16,
                        .dhcp = false});
  }
  for (std::size_t i = 0; i < nodes_count; ++i) {
    const NodeId id{0x0de, i + 1};
    Report said{.node = id};
    said.body.Set(AgentStarted{.nonce = {0x0ce, i + 1},
                               .name = fmt::format("history-{}", i),
                               .boot_id = "b",
                               .zone = "nova",
                               .vcpus = 100'000,
                               .ram_mib = 100'000'000,
                               .disk_gib = 1'000'000,
                               .compute_driver = "simulated",
                               .storage_driver = "simulated",
                               .network_driver = "simulated",
                               .address = "192.0.2.1",
                               .version = "0.1"});
    Decision decision{.cause = Cause::report,
                      .position = {Topic::reports, 0, 0},
                      .node = id,
                      .events = decide(state_, said, draft.record.at_ms).events};
    fold_decision(state_, draft.frame, decision);
    draft.record.decisions.push_back(std::move(decision));
  }
  write(std::move(draft));
}

// One of the things that people ask of a cloud.
void History::something(Draft& draft) {
  const auto dice = prng_.below(100);
  const bool few = servers_.size() < servers_wanted_;
  const auto server = any(servers_);
  const auto volume = any(volumes_);
  if (dice < (few ? 30u : 12u)) {
    const auto id = servers_.emplace_back(fresh<ServerId>());
    CreateServer create{.id = id,
                        .name = fmt::format("server-{}", last_id_),
                        .flavor = "42",
                        .image = image_,
                        .metadata = {"team", fmt::format("t{}", last_id_ % 50)},
                        .hostname = fmt::format("server-{}", last_id_)};
    create.nics.push_back({fresh<PortId>(), any(networks_), {}});
    intend(draft, id.as<AnyId>(), std::move(create));
    open_servers_.insert(id);
  } else if (dice < 42 && servers_.size() > servers_wanted_ / 2) {
    const auto at = prng_.below(servers_.size());
    const auto id = servers_[at];
    servers_[at] = servers_.back();
    servers_.pop_back();
    intend(draft, id.as<AnyId>(), DeleteServer{.id = id});
    open_servers_.insert(id);
  } else if (dice < 60 && server) {
    const Server* row = state_.servers.find(server);
    if (row && row->on) intend(draft, server.as<AnyId>(), StopServer{.id = server});
    else intend(draft, server.as<AnyId>(), StartServer{.id = server});
    open_servers_.insert(server);
  } else if (dice < 66 && server) {
    intend(draft, server.as<AnyId>(), RebootServer{.id = server, .hard = dice == 60});
    open_servers_.insert(server);
  } else if (dice < 72 && server) {
    intend(draft, server.as<AnyId>(),
           UpdateServer{.id = server, .name = fmt::format("renamed-{}", draft.record.seq)});
  } else if (dice < 82 && volumes_.size() < servers_wanted_ / 2) {
    const auto id = volumes_.emplace_back(fresh<VolumeId>());
    intend(draft, id.as<AnyId>(),
           CreateVolume{.id = id, .name = fmt::format("volume-{}", last_id_), .size_gib = 1 + dice % 7});
    open_volumes_.insert(id);
  } else if (dice < 94 && volume) {
    const Volume* row = state_.volumes.find(volume);
    if (row && row->status == VolumeStatus::in_use) {
      intend(draft, volume.as<AnyId>(), DetachVolume{.id = volume, .server = row->server});
      open_servers_.insert(row->server);
    } else if (row) {
      ServerId there = server;
      state_.servers.each_by(Server::by_node, encode_key(row->node),
                             [&](const Server& one) { return there = one.id, prng_.below(8) != 0; });
      intend(draft, volume.as<AnyId>(), AttachVolume{.id = volume, .server = there});
      open_servers_.insert(there);
    }
  } else if (dice < 98 && volume) {
    intend(draft, volume.as<AnyId>(), DeleteVolume{.id = volume});
    open_volumes_.insert(volume);
    std::erase_if(volumes_, [&](const VolumeId& id) {
      return id == volume && state_.volumes.find(id) &&
             state_.volumes.find(id)->status == VolumeStatus::deleting;
    });
  } else {
    const auto id = fresh<AnyId>();
    intend(draft, id,
           CreateKeypair{.user = user_,
                         .name = fmt::format("key-{}", last_id_),
                         .public_key = "ssh-ed25519 AAAA",
                         .fingerprint = "aa:bb"});
  }
}

void History::live(std::uint64_t events_wanted) {
  begin();
  while (events < events_wanted) {
    Draft draft = open();
    report(draft);
    for (auto n = 1 + prng_.below(intents_max); n > 0; --n) something(draft);
    write(std::move(draft));
  }
  // What was begun is ended.
  for (int i = 0; i < 8 && !(open_servers_.empty() && open_volumes_.empty()); ++i) {
    Draft draft = open();
    report(draft);
    if (!draft.record.decisions.empty()) write(std::move(draft));
  }
  std::unique_lock lock(mutex_);
  answered_.wait(lock, [&] { return open_bytes_ == 0; });
}

}  // namespace
}  // namespace reprise::bench

int print_sizes(const std::string& dir) {
  const auto store = reprise::Store::open({.dir = dir, .read_only = true});
  if (!store) {
    fmt::print(stderr, "reprise_history: {}\n", store.error().text);
    return 1;
  }
  const auto& f = *(*store)->snapshot()->families;
  std::string json;
  for (auto* family : {f.now, f.history, f.trail, f.tail}) {
    rocksdb::ColumnFamilyMetaData about;
    f.db->GetColumnFamilyMetaData(family, &about);
    json += fmt::format("{}\"{}\":{}", json.empty() ? "" : ",", family->GetName(), about.size);
  }
  fmt::print("{{{}}}\n", json);
  return 0;
}

int main(int argc, char** argv) {
  using namespace reprise;
  if (argc == 3 && std::string_view(argv[1]) == "sizes") return print_sizes(argv[2]);
  std::uint64_t events = 0, servers = 20'000;
  const auto number = [&](int i, std::uint64_t& into) {
    const std::string_view text = argv[i];
    return std::from_chars(text.data(), text.data() + text.size(), into).ptr == text.data() + text.size() &&
           into > 0;
  };
  if (argc < 3 || argc > 4 || !number(2, events) || (argc == 4 && !number(3, servers))) {
    std::puts("reprise_history LOG EVENTS [SERVERS]\nreprise_history sizes STORE");
    return 2;
  }
  auto log = open_embedded_log(argv[1], {.create = false});
  if (!log) {
    fmt::print(stderr, "reprise_history: {}\n", log.error().text);
    return 1;
  }
  bench::History history(std::move(*log), servers);
  const auto begin = std::chrono::steady_clock::now();
  history.live(events);
  fmt::print("{{\"events\":{},\"records\":{},\"bytes\":{},\"refused\":{},\"seconds\":{:.1f}}}\n",
             history.events, history.head.seq, history.bytes, history.refused,
             std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
}
