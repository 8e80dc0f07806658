#include "controlplane/story/whatif.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "controlplane/api/json_writer.h"
#include "controlplane/api/timestamp.h"
#include "controlplane/story/cause.h"
#include "controlplane/story/names.h"
#include "controlplane/story/weighing.h"

namespace reprise::story {
namespace {

using api::JsonWriter;

constexpr std::int64_t amount_max = INT32_MAX;  // vCPUs, MiB or GiB

// The object's last placement that the log knows.
struct Decided {
  Seq seq = 0;
  std::int64_t at_ms = 0;
  std::string name;  // of the object then; a refused one has none
  State before;
  Weighing weighing;
};

// `elsewhere`: only what it asked for is wanted, not the state that it was decided in.
Result<Decided> find_decided(const View& now, const Source& source, AnyId object, bool elsewhere) {
  auto seqs = now.seqs_of(object);
  for (auto seq = seqs.rbegin(); seq != seqs.rend() && *seq > 1; ++seq) {
    const auto stored = source.read_records(*seq, 1);
    if (!stored) return stored.error();
    if (stored->empty()) continue;
    const auto record = decode_record(stored->front().bytes);
    if (!record) return record.error();
    for (auto index = static_cast<std::uint32_t>(record->decisions.size()); index-- > 0;) {
      const Decision& decision = record->decisions[index];
      if (!placed_something(decision, object)) continue;
      const auto before = source.view_at(*seq - 1);
      const bool cut = !before && before.error().code == Errc::unsupported;
      if (!before && !(cut && elsewhere)) return before.error();
      auto state = cut ? Result<State>(State()) : state_before(*before, *record, index);
      if (!state) return state.error();
      const auto intent = intent_of(decision);
      auto weighing = weigh_again(*state, decision, intent ? &*intent : nullptr, object);
      if (!weighing) continue;
      const auto after = source.view_at(std::max(*seq, std::min(now.history_from(), now.seq())));
      if (!after) return after.error();
      return Decided{*seq, record->at_ms, name_of(*after, object), std::move(*state), std::move(*weighing)};
    }
  }
  return {Errc::not_found,
          fmt::format("up to seq {} nothing in the log places {}, or refuses it a place: give the id "
                      "of a server or volume, or a flavor",
                      now.seq(), object.str())};
}

class Weigher {
 public:
  Weigher(const View& now, const Source& source, const WhatIf& what)
      : now_(now), source_(source), what_(what) {}

  Result<std::string> tell() {
    for (const auto& step :
         {&Weigher::check, &Weigher::choose_state, &Weigher::change_request, &Weigher::change_nodes})
      if (const auto done = (this->*step)(); !done) return done.error();
    weighing_ = weigh(state_, request_);
    columns_ = state_.node_columns();
    place_all();
    return write();
  }

 private:
  Status check() {
    if (what_.count < 1 || what_.count > whatif_count_max)
      return {Errc::invalid, fmt::format("count must be 1 to {}", whatif_count_max)};
    for (const double times : {what_.vcpus_times, what_.ram_times, what_.disk_times})
      if (!(times >= 0 && times <= whatif_times_max))
        return {Errc::invalid, fmt::format("a node cannot offer {} times what it does: give 0 to {}", times,
                                           whatif_times_max)};
    for (const auto& amount : {what_.vcpus, what_.ram_mib, what_.disk_gib})
      if (amount && (*amount < 0 || *amount > amount_max))
        return {Errc::invalid, fmt::format("{} is no amount that a server can ask for", *amount)};
    if (what_.object.empty()) return {};
    const auto object = object_of(now_, what_.object, what_.kind, {"server", "volume"});
    if (!object) return object.error();
    object_ = *object;
    return {};
  }

  Status choose_state() {
    if (object_) {
      auto decided = find_decided(now_, source_, object_, what_.at.has_value());
      if (!decided) return decided.error();
      request_ = decided->weighing.request;
      decided_.emplace(std::move(*decided));
      seq_ = decided_->seq - 1, at_ms_ = decided_->at_ms;
      state_ = std::move(decided_->before);
      if (!what_.at) return {};
    }
    const auto then = source_.view_at(what_.at.value_or(now_.seq()));
    if (!then) return then.error();
    auto state = load_state(*then);
    if (!state) return state.error();
    state_ = std::move(*state);
    seq_ = then->seq(), at_ms_ = then->at_ms();
    request_.not_on = {};
    take_out();
    return {};
  }

  // It does not stand in its own way.
  void take_out() {
    const auto server = object_.as<ServerId>();
    const auto volume = object_.as<VolumeId>();
    if (state_.servers.contains(server)) state_.servers.erase(server);
    else if (state_.volumes.contains(volume)) state_.volumes.erase(volume);
    else return;
    state_.settle();
    changes_.push_back("as if it were not there yet");
  }

  Status change_request() {
    if (!what_.flavor.empty()) {
      const Flavor* flavor = state_.flavors.find(what_.flavor);
      state_.flavors.each([&](const Flavor& one) {
        if (!flavor && one.name == what_.flavor) flavor = &one;
      });
      if (!flavor) return {Errc::invalid, fmt::format("at seq {} there is no flavor {}", seq_, what_.flavor)};
      request_.vcpus = flavor->vcpus;
      request_.ram_mib = static_cast<std::int64_t>(flavor->ram_mib);
      request_.disk_gib = static_cast<std::int64_t>(flavor->disk_gib);
      changes_.push_back("flavor " + flavor->name);
    } else if (!object_ && !what_.vcpus && !what_.ram_mib && !what_.disk_gib) {
      return {Errc::invalid, "what is to be placed? Give a server or volume, a flavor, or amounts"};
    }
    set("vCPUs", what_.vcpus, request_.vcpus), set("MiB of RAM", what_.ram_mib, request_.ram_mib);
    set("GiB of disk", what_.disk_gib, request_.disk_gib);
    set_word("zone", what_.zone, request_.zone), set_word("host", what_.host, request_.host);
    return {};
  }

  void set(const char* unit, const std::optional<std::int64_t>& wanted, std::int64_t& into) {
    if (!wanted) return;
    into = *wanted;
    changes_.push_back(fmt::format("{} {}", into, unit));
  }
  void set_word(const char* what, const std::optional<std::string>& wanted, std::string& into) {
    if (!wanted) return;
    into = *wanted;
    changes_.push_back(into.empty() ? fmt::format("any {}", what) : fmt::format("{} {}", what, into));
  }

  Status change_nodes() {
    for (const auto& name : what_.without)
      if (auto done = change_node(name, true); !done) return done;
    for (const auto& name : what_.with)
      if (auto done = change_node(name, false); !done) return done;
    std::vector<NodeId> ids;
    state_.nodes.each([&](const Node& node) { ids.push_back(node.id); });
    const auto scale = [&](const char* what, double times, auto member) {
      if (times == 1) return;
      for (const NodeId id : ids) {
        auto& offered = state_.nodes.edit(id).*member;
        offered = static_cast<std::remove_reference_t<decltype(offered)>>(
            std::min(std::floor(static_cast<double>(offered) * times), 4e9));
      }
      changes_.push_back(fmt::format("every node offers {} times its {}", times, what));
    };
    scale("vCPUs", what_.vcpus_times, &Node::vcpus), scale("RAM", what_.ram_times, &Node::ram_mib);
    scale("disk", what_.disk_times, &Node::disk_gib);
    state_.settle();
    return {};
  }

  Status change_node(const std::string& name, bool out) {
    NodeId id;
    state_.nodes.each([&](const Node& node) {
      if (node.name == name || node.id.str() == name) id = node.id;
    });
    if (!id) return {Errc::invalid, fmt::format("at seq {} there is no node {}", seq_, name)};
    Node& node = state_.nodes.edit(id);
    node.disabled = out;
    if (!out) node.state = NodeState::up;
    if (out) left_out_.push_back(id);
    changes_.push_back((out ? "without " : "with ") + node.name);
    return {};
  }

  // Each takes its place in the copy of the state, so that the next one sees it there.
  void place_all() {
    for (std::int64_t i = 0; i < what_.count; ++i) {
      const NodeId node = place(state_, request_).node;
      if (!node) break;
      if (!chosen_) chosen_ = node;
      ++placed_[node];
      state_.servers.insert({.id = {.hi = ~std::uint64_t{0}, .lo = static_cast<std::uint64_t>(i)},
                             .vcpus = static_cast<std::uint32_t>(request_.vcpus),
                             .ram_mib = static_cast<std::uint64_t>(request_.ram_mib),
                             .disk_gib = static_cast<std::uint64_t>(request_.disk_gib),
                             .tenure = Tenure::placed,
                             .node = node});
      state_.settle();
    }
  }

  std::string write() {
    std::string out;
    JsonWriter json(out);
    json.begin_object()
        .field("seq", seq_)
        .field("at", api::time_micros_z(static_cast<std::uint64_t>(at_ms_)));
    if (decided_) {
      json.field("object", object_.str()).field("name", decided_->name);
      const NodeId node = decided_->weighing.chosen;
      json.object("decided").field("seq", decided_->seq).field("node", node ? node.str() : "");
      json.field("name", node ? name_of(now_, node.as<AnyId>()) : "").end_object();
    }
    json.object("request").field("vcpus", request_.vcpus).field("ram_mib", request_.ram_mib);
    json.field("disk_gib", request_.disk_gib)
        .field("zone", request_.zone)
        .field("host", request_.host)
        .end_object();
    json.array("changes");
    for (const auto& change : changes_) json.value(change);
    json.end_array();
    std::int64_t placed = 0;
    for (const auto& [node, count] : placed_) placed += count;
    json.field("count", what_.count).field("placed", placed);
    write_nodes(json);
    json.end_object();
    return out;
  }

  void write_nodes(JsonWriter& json) {
    std::size_t fits = 0;
    json.array("nodes");
    for (std::size_t i = 0; i < weighing_.nodes.size(); ++i) {
      const auto& [weighed, name] = weighing_.nodes[i];
      fits += weighed.reason == PlacementReason::fits;
      if (i >= weighed_nodes_max) continue;
      const auto at = static_cast<std::size_t>(
          std::lower_bound(columns_.ids.begin(), columns_.ids.end(), weighed.node) - columns_.ids.begin());
      const bool left_out = std::find(left_out_.begin(), left_out_.end(), weighed.node) != left_out_.end();
      json.begin_object().field("id", weighed.node.str()).field("name", name);
      json.field("verdict", left_out ? "left out here" : placement_reason_text(weighed.reason));
      json.field("fits", weighed.reason == PlacementReason::fits).field("weight", weighed.weight);
      json.object("free").field("vcpus", columns_.free_vcpus[at]).field("ram_mib", columns_.free_ram_mib[at]);
      json.field("disk_gib", columns_.free_disk_gib[at]).end_object();
      json.field("placed", placed_.contains(weighed.node) ? placed_.at(weighed.node) : 0);
      json.field("chosen", weighed.node == chosen_);
      json.field("decided", decided_ && weighed.node == decided_->weighing.chosen).end_object();
    }
    json.end_array().field("fits", fits).field("considered", weighing_.nodes.size());
  }

  const View& now_;
  const Source& source_;
  const WhatIf& what_;
  AnyId object_;
  std::optional<Decided> decided_;
  State state_;
  Seq seq_ = 0;
  std::int64_t at_ms_ = 0;
  PlacementRequest request_;
  std::vector<std::string> changes_;
  std::vector<NodeId> left_out_;
  Weighing weighing_;    // of the first one
  NodeColumns columns_;  // before it was placed
  std::map<NodeId, std::int64_t> placed_;
  NodeId chosen_;
};

}  // namespace

Result<std::string> whatif_json(const View& now, const Source& source, const WhatIf& what) {
  return Weigher(now, source, what).tell();
}

}  // namespace reprise::story
