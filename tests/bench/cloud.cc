#include <fmt/format.h>

#include "controlplane/cli/genesis.h"
#include "tests/bench/bench.h"

namespace reprise::bench {

Cloud::Cloud(std::size_t nodes, bool collect_changes) : state(collect_changes, false) {
  cli::GenesisChoices choices{.cloud = {1, 1}, .log = {1, 2}, .project = {1, 3}, .user = {1, 4}, .admin = {1, 5},
                              .member = {1, 6}, .reader = {1, 7}, .node = {1, 8}, .name = "bench", .place = "memory",
                              .password = "x", .password_hash = "x", .at_ms = at_ms};
  user = choices.user;
  project = choices.project;
  image = {1, 9};
  reprise::fold(state, cli::genesis_record(choices));
  RecordFrame frame{.seq = ++seq, .at_ms = at_ms};
  Decision decision{.events = {QuotaSet{.project = project, .instances = -1, .cores = -1, .ram_mib = -1, .volumes = -1,
                                        .gigabytes = -1, .networks = -1, .subnets = -1, .ports = -1, .key_pairs = -1},
                               ImageCreated{.id = image, .name = "guest", .disk_format = "qcow2", .container_format = "bare", .project = project},
                               ImageStored{.id = image, .size = 1 << 20, .virtual_size = 64 << 20, .md5 = "m", .sha512 = "s"}}};
  for (std::size_t i = 0; i < nodes; ++i) {
    const NodeId id{2, i + 1};
    decision.events.push_back(NodeAdmitted{.id = id, .name = fmt::format("node{}", i)});
    decision.events.push_back(NodeStarted{.id = id, .nonce = {3, i + 1}, .boot_id = "b", .zone = i % 3 ? "nova" : "east",
                                          .vcpus = 100'000, .ram_mib = 100'000'000 + i % 97, .disk_gib = 1'000'000});
  }
  fold_decision(state, frame, decision);
  state.take_changes();
}

Intent Cloud::create_server(std::uint64_t number) const {
  Intent intent{.id = {4, number}, .request_id = "req-00000000-0000-0000-0000-000000000000", .user = user, .project = project,
                .sent_ms = at_ms, .expires_ms = at_ms + 30'000, .client = "127.0.0.1", .object = {5, number}};
  intent.set(CreateServer{.id = {5, number}, .name = fmt::format("server-{}", number), .flavor = "42", .image = image, .hostname = "server"});
  return intent;
}

Record Cloud::record(const std::vector<Intent>& intents) {
  Record record{.seq = ++seq, .at_ms = at_ms};
  RecordFrame frame{.seq = seq, .at_ms = at_ms};
  fold_begin(state, frame);
  for (const auto& intent : intents) {
    Decision decision{.cause = Cause::intent, .intent = encode(intent), .events = decide(state, intent, at_ms)};
    fold_decision(state, frame, decision, &intent);
    record.decisions.push_back(std::move(decision));
  }
  fold_end(state, record.positions);
  record.digest = state.digest();
  return record;
}

}  // namespace reprise::bench
