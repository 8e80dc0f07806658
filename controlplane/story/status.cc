#include "controlplane/story/status.h"

#include <time.h>

#include <algorithm>

#include "controlplane/api/json_writer.h"
#include "controlplane/api/moment.h"
#include "controlplane/api/timestamp.h"
#include "controlplane/story/state_words.h"

namespace reprise::story {
namespace {

using api::JsonWriter;

constexpr std::size_t unsettled_max = 100;
constexpr std::size_t nodes_max = 200;

std::string time_text(std::int64_t ms) {
  return ms ? api::time_z(static_cast<std::uint64_t>(ms)) : std::string();
}

void write_cloud(JsonWriter& json, const View& now) {
  const auto cloud = now.find<Cloud>({});
  json.object("cloud");
  if (cloud) {
    json.field("id", cloud->id.str())
        .field("name", cloud->name)
        .field("log", cloud->log.str())
        .field("level", cloud->level);
    if (cloud->sealed_to)
      json.field("sealed_to", cloud->sealed_to.str()).field("sealed_place", cloud->sealed_place);
    json.field("intents_lost", cloud->intents_lost);
  }
  json.field("place", now.store_head().place).end_object();
  const Head& head = now.store_head().head;
  json.object("head")
      .field("seq", head.seq)
      .field("hash", head.hash.hex())
      .field("digest", now.store_head().digest.hex());
  json.field("at", time_text(head.at_ms)).end_object();
  json.key("past").raw(api::readable_json(now));
  json.object("last_claim");
  if (cloud)
    json.field("controller", cloud->controller.str())
        .field("host", cloud->controller_host)
        .field("seq", cloud->claimed_at);
  json.end_object();
}

void write_verification(JsonWriter& json, const VerificationLine& v) {
  json.object("verification").field("state", v.state).field("seq", v.seq).field("target", v.target);
  json.field("whole_seq", v.whole_seq)
      .field("whole_at", time_text(v.whole_ms))
      .field("next_at", time_text(v.next_ms));
  json.field("trouble", v.trouble).field("broken", v.broken);
  if (!v.broken.empty())
    json.field("broken_after", v.broken_after).field("offset", v.broken_offset).field("remedy", v.remedy);
  json.end_object();
}

void write_running(JsonWriter& json, const Running& running) {
  json.array("roles");
  for (const auto& role : running.roles) json.value(role);
  json.end_array();
  const auto& p = running.projection;
  json.object("projection").field("lag", p.lag).field("caught_up", p.caught_up).field("void", p.voids);
  json.field("rebuilding", p.rebuilding)
      .field("rebuilt_because", p.rebuilt_because)
      .field("trouble", p.trouble);
  json.field("broken", p.broken).end_object();
  if (running.controller) {
    const auto& c = *running.controller;
    json.object("controller").field("role", c.role).field("id", c.id.str()).field("reason", c.reason).field("clock", c.clock);
    json.field("claims", c.claims).field("decisions", c.decisions).array("held");
    for (const NodeId id : c.held) json.value(id.str());
    json.end_array().end_object();
  }
  if (running.verification) write_verification(json, *running.verification);
}

std::uint64_t busy_ms(const AgentLine& agent) {
  if (!agent.busy_since_ms) return 0;
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, now.tv_sec * 1000 + now.tv_nsec / 1'000'000 - agent.busy_since_ms));
}

void write_agents(JsonWriter& json, const NodeLine& line) {
  json.field("agents_stopped", line.stopped).field("reports_waiting", line.reports_waiting).array("agents");
  for (const auto& agent : line.agents) {
    json.begin_object()
        .field("kind", agent.kind)
        .field("realized", agent.realized)
        .field("trouble", agent.trouble);
    json.field("last_error", agent.last_error)
        .field("actions", agent.actions)
        .field("failures", agent.failures)
        .field("busy_with", agent.busy_with)
        .field("busy_ms", busy_ms(agent))
        .end_object();
  }
  json.end_array();
}

void write_nodes(JsonWriter& json, const View& now, const Running* running) {
  std::size_t count = 0;
  json.array("nodes");
  now.each<Node>([&](const Node& node) {
    if (++count > nodes_max) return;
    const NodeUse use = now.find<NodeUse>(node.id).value_or(NodeUse{});
    json.begin_object().field("id", node.id.str()).field("name", node.name).field("state", node_status(node));
    json.field("reason", node.reason).field("zone", node.zone).field("incarnation", node.incarnation);
    json.field("vcpus", node.vcpus)
        .field("vcpus_used", use.vcpus)
        .field("ram_mib", node.ram_mib)
        .field("ram_mib_used", use.ram_mib);
    json.field("disk_gib", node.disk_gib)
        .field("disk_gib_used", use.disk_gib)
        .field("servers", use.servers)
        .field("volumes", use.volumes);
    if (running) {
      const auto at = std::find_if(running->nodes.begin(), running->nodes.end(),
                                   [&](const NodeLine& line) { return line.id == node.id; });
      if (at != running->nodes.end()) write_agents(json, *at);
    }
    json.end_object();
  });
  json.end_array().field("nodes_in_all", count);
}

void write_counts(JsonWriter& json, const View& now) {
  json.object("counts");
  json.field("servers", now.count<Server>())
      .field("volumes", now.count<Volume>())
      .field("images", now.count<Image>());
  json.field("networks", now.count<Network>())
      .field("ports", now.count<Port>())
      .field("projects", now.count<Project>());
  json.end_object();
}

void write_unsettled(JsonWriter& json, const View& now) {
  std::size_t all = 0;
  const auto list = unsettled(now, unsettled_max, all);
  json.array("unsettled");
  for (const auto& one : list) {
    json.begin_object()
        .field("kind", one.kind)
        .field("id", one.id.str())
        .field("name", one.name)
        .field("state", one.state);
    json.field("deadline", time_text(one.deadline_ms)).field("reason", one.reason).end_object();
  }
  json.end_array().field("unsettled_in_all", all);
}

}  // namespace

std::string status_json(const View& now, const Running* running) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().field("running", running != nullptr);
  write_cloud(json, now);
  if (running) write_running(json, *running);
  write_nodes(json, now, running);
  write_counts(json, now);
  write_unsettled(json, now);
  json.end_object();
  return out;
}

}  // namespace reprise::story
